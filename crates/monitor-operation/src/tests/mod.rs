//! Tests of the kernel that need to see inside.
