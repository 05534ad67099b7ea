//! Integration tests, in one binary.

mod smoke;
