//! wyng-volume
