//! wyng-state
