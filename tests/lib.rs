//! What the tests in this folder have in common.
