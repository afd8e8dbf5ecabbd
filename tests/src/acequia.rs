//! `acequia run`, run by a test.
