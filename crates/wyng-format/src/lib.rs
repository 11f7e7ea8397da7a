//! wyng-format
