//! wyng-testkit
