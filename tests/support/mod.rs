//! What the tests share: cohorts in memory, runs on them, tables read back.

pub mod browser;
pub mod dicom;
pub mod disk;
pub mod faulty;
pub mod nats;
pub mod s3;
#[cfg(feature = "torch")]
pub mod site;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ndarray::{Array3, ShapeBuilder as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{Affine, ObjectUrl};
use spinestream::conf::Conf;
use spinestream::run::{self, Retry};
use spinestream::verbs::phantom::pair;
use spinestream::{Exit, RunEnd};
use stages::decode::nifti::write_mask;
use stages::store::{Place, Stores};

/// Folder `shared/` with real data and goldens; `None` says that tests on it are skipped.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("SPINESTREAM_SHARED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SPINESTREAM_SHARED is not set");
    }
    folder
}

/// A packed label map of 40³ voxels of 1 mm with one block of `label`, `offset_mm` from the origin along each axis.
pub fn block(label: u16, offset_mm: f64) -> Vec<u8> {
    let mut data = Array3::<u16>::zeros((40, 40, 40).f());
    data.slice_mut(ndarray::s![10..30, 10..30, 10..30]).fill(label);
    write_mask(data.view(), &Affine::axis_aligned([1.0; 3], [offset_mm; 3])).expect("nifti")
}

/// Returns what a gzip file holds.
pub fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(gzip).read_to_end(&mut plain).expect("gzip");
    plain
}

/// Returns bytes as a gzip file.
pub fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("gzip");
    encoder.finish().expect("gzip")
}

/// A plain NIfTI-1 file with a block of label 22 and some bytes overwritten.
pub fn patched(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut plain = unpacked(&block(22, 0.0));
    plain[offset..offset + bytes.len()].copy_from_slice(bytes);
    plain
}

/// A cohort in a store of its own.
pub struct Cohort {
    /// The store: everything lies below `memory:///cohort/`, results below `memory:///out/`.
    pub stores: Arc<Stores>,
    rows: Vec<String>,
}

/// One row of a table, every cell as text; null is empty.
pub type Row = BTreeMap<String, String>;

impl Cohort {
    /// An empty cohort.
    pub fn new() -> Self {
        Self {
            stores: Arc::new(Stores::default()),
            rows: Vec::new(),
        }
    }

    /// A cohort without rows whose objects, and results, lie in `stores`.
    pub fn with(stores: Arc<Stores>) -> Self {
        Self {
            stores,
            rows: Vec::new(),
        }
    }

    /// The same cohort seen through other stores.
    pub fn through(&self, stores: Arc<Stores>) -> Self {
        Self {
            stores,
            rows: self.rows.clone(),
        }
    }

    /// A cohort of phantoms `p1`, `p2`, … with references.
    pub async fn of_phantoms(count: usize) -> Self {
        let mut cohort = Self::new();
        for number in 1..=count {
            let pair = pair(number as u64).expect("phantom");
            cohort.put(&format!("p{number}.nii.gz"), pair.mask).await;
            cohort.put(&format!("p{number}_ct.nii.gz"), pair.reference).await;
            cohort.row(&format!(
                "p{number},p{number}.nii.gz,verse,p{number}_ct.nii.gz,verse"
            ));
        }
        cohort
    }

    /// Puts an object beside the manifest.
    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        self.place(&format!("cohort/{name}"))
            .put(bytes.into())
            .await
            .expect("put");
    }

    /// Adds a manifest row: `case_id,mask,labels,reference,reference_labels`.
    pub fn row(&mut self, row: &str) {
        self.rows.push(row.to_owned());
    }

    /// Returns a place in the store.
    pub fn place(&self, key: &str) -> Place {
        self.stores
            .place(&ObjectUrl::new(format!("memory:///{key}")))
            .expect("place")
    }

    /// Writes the manifest and runs it to its end; output below `memory:///<out>`.
    pub async fn run(&self, out: &str, settings: &[&str]) -> Result<Exit, RunEnd> {
        self.run_until(out, settings, std::future::pending()).await
    }

    /// The same, stopped by `stop`.
    pub async fn run_until(
        &self,
        out: &str,
        settings: &[&str],
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Exit, RunEnd> {
        let conf = self.conf(out, settings).await;
        run::run(&conf, &self.stores, &Retry::None, stop).await
    }

    /// The same, with failed cases done again.
    pub async fn run_again(&self, out: &str, settings: &[&str], retry: &Retry) -> Result<Exit, RunEnd> {
        let conf = self.conf(out, settings).await;
        run::run(&conf, &self.stores, retry, std::future::pending()).await
    }

    /// Writes the manifest and returns the configuration of a run on it.
    pub async fn conf(&self, out: &str, settings: &[&str]) -> Conf {
        let manifest = format!(
            "case_id,mask,labels,reference,reference_labels\n{}\n",
            self.rows.join("\n")
        );
        self.put("manifest.csv", manifest).await;
        let mut all = vec![
            "run.manifest=memory:///cohort/manifest.csv".to_owned(),
            format!("run.output=memory:///{out}"),
            "run.id=test".to_owned(),
            "run.max_failed=1".to_owned(),
        ];
        all.extend(settings.iter().map(|text| (*text).to_owned()));
        Conf::read(None, std::iter::empty(), &all).expect("conf")
    }

    /// Reads a table back, sorted by case and level.
    pub async fn table(&self, out: &str, table: &str) -> Vec<Row> {
        self.rows_below(&format!("{out}/tables/{table}/run=test")).await
    }

    /// Reads every part in a folder of the disk, sorted by case and level.
    pub async fn rows_on_disk(&self, folder: &std::path::Path) -> Vec<Row> {
        let url = url::Url::from_directory_path(folder).expect("an absolute path");
        self.rows_in(self.stores.place(&ObjectUrl::new(url)).expect("place"))
            .await
    }

    /// Reads every part below a place, sorted by case and level.
    pub async fn rows_below(&self, key: &str) -> Vec<Row> {
        self.rows_in(self.place(key)).await
    }

    /// Reads every part at a place, sorted by case and level.
    pub async fn rows_in(&self, folder: Place) -> Vec<Row> {
        let mut rows = Vec::new();
        for part in folder.list().await.expect("list") {
            let place = Place {
                store: folder.store.clone(),
                path: part.location,
            };
            rows.extend(rows_of(place.read(u64::MAX).await.expect("read")));
        }
        rows.sort_by_key(|row| (row["case_id"].clone(), row.get("level").cloned()));
        rows
    }
}

/// Reads the rows of a Parquet file.
pub fn rows_of(bytes: Bytes) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .expect("parquet")
        .build()
        .expect("reader");
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.expect("batch");
        let options = FormatOptions::new();
        let schema = batch.schema();
        // moments as their numbers: to print them would take a table of time zones
        let number = |column: &ArrayRef| match column.as_primitive_opt::<TimestampMillisecondType>() {
            Some(moments) => Arc::new(moments.reinterpret_cast::<Int64Type>()) as ArrayRef,
            None => Arc::clone(column),
        };
        let columns: Vec<ArrayRef> = batch.columns().iter().map(number).collect();
        let formatters: Vec<_> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("printable"))
            .collect();
        for index in 0..batch.num_rows() {
            let cells = schema.fields().iter().zip(&formatters);
            rows.push(
                cells
                    .map(|(field, cell)| (field.name().clone(), cell.value(index).to_string()))
                    .collect(),
            );
        }
    }
    rows
}

/// Returns of each case the row of its highest attempt, in order.
pub fn last_attempts(cases: &[Row]) -> Vec<Row> {
    let mut last: BTreeMap<&str, &Row> = BTreeMap::new();
    let attempt = |row: &Row| row["attempt"].parse::<u32>().expect("a number");
    for row in cases {
        let known = last.entry(&row["case_id"]).or_insert(row);
        if attempt(row) > attempt(known) {
            *known = row;
        }
    }
    last.into_values().cloned().collect()
}

/// Columns that say when, where and how fast, not what.
pub fn is_circumstance(column: &str) -> bool {
    // the hash of a file may follow libtorch's rounding, which follows the batch
    let others = [
        "worker",
        "batch",
        "attempt",
        "files",
        "seconds",
        "cpu_seconds",
        "finished_at",
    ];
    column.ends_with("_ms") || others.contains(&column)
}

/// Returns the rows without their circumstances.
pub fn without_circumstances(rows: &[Row]) -> Vec<Row> {
    let keep = |row: &Row| {
        row.iter()
            .filter(|(name, _)| !is_circumstance(name))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    };
    rows.iter().map(keep).collect()
}
