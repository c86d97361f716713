//! Rows of the tables.
