//! wyng-archive
