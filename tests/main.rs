//! Whole runs, as a user would start them. One binary, a module a claim.

mod support;

mod attempts;
mod bad_input;
mod command_line;
#[cfg(feature = "torch")]
mod compose;
mod degradation;
mod deploy;
mod dicom_fixture;
mod dicom_in;
mod dicom_manifest;
mod dicom_run;
mod dicom_seg;
mod equal_tables;
mod evaluate;
mod faults;
mod hostile;
mod interpolation;
mod main_job;
mod models_verb;
#[cfg(feature = "torch")]
mod nightly;
mod privacy;
mod published;
mod python;
mod queue;
mod real_data;
mod registry;
mod report;
mod report_page;
mod resume;
mod s3;
mod schema;
mod shard;
#[cfg(feature = "torch")]
mod train;
mod validation;
mod viewer;
mod views;
mod watched;
mod workers;
