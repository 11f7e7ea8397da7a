//! Links that break, and far sides that are not what they should be.
