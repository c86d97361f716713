//! The outputs as other people's tools read them: DuckDB, Polars, nibabel.

use std::process::Command;

use crate::support::Cohort;

/// Reads what a run left behind and prints what it found as JSON.
const READER: &str = r#"
import glob, json, sys
import duckdb, nibabel, numpy, polars
out = sys.argv[1]
glob_of = lambda table: f"{out}/tables/{table}/**/*.parquet"
count = lambda table: duckdb.sql(f"select count(*) from read_parquet('{glob_of(table)}', hive_partitioning = true)").fetchall()[0][0]
scan = lambda table: polars.scan_parquet(glob_of(table), hive_partitioning=True)
found = {table: [count(table), scan(table).select(polars.len()).collect().item()] for table in ("cases", "vertebrae")}
rows = duckdb.sql(f"select case_id, level, affine, recon_volume_mm3, run, len(latent) from read_parquet('{glob_of('vertebrae')}', hive_partitioning = true) order by case_id, level").fetchall()
found["run"] = rows[0][4]
found["pruned"] = duckdb.sql(f"select count(*) from read_parquet('{glob_of('cases')}', hive_partitioning = true) where run = 'none'").fetchall()[0][0]
worst = 0.0
for case, level, affine, volume, run, latent in rows:
    image = nibabel.load(f"{out}/volumes/run={run}/{case}/{case}_label-{level}_desc-recon_mask.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S") and image.shape == (128, 128, 128)
    assert image.header["qform_code"] > 0 and image.header["sform_code"] > 0
    worst = max(worst, float(numpy.abs(image.affine - numpy.array(affine).reshape(4, 4)).max()))
    assert abs(float(numpy.asarray(image.dataobj).sum()) - volume) < 1e-6, (case, level)
found["affine"] = worst
scan_map = nibabel.load(glob.glob(f"{out}/volumes/run=*/p1/*_space-scan_desc-recon_dseg.nii.gz")[0])
source = nibabel.load(sys.argv[2])
found["labels"] = sorted(int(v) for v in numpy.unique(scan_map.dataobj))
found["same_grid"] = scan_map.shape == source.shape and bool(numpy.allclose(scan_map.affine, source.affine, atol=1e-4))
print(json.dumps(found))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_polars_and_nibabel_read_what_a_run_leaves() {
    let Some(python) = std::env::var_os("SPINESTREAM_PYTHON") else {
        eprintln!("skipped: SPINESTREAM_PYTHON is not set");
        return;
    };
    let mut cohort = Cohort::of_phantoms(2).await;
    cohort.row("gone,none.nii.gz,verse,,");
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("out");
    let setting = format!("run.output={}", out.display());
    cohort
        .run("unused", &[&setting, "model.chain=[\"identity\"]"])
        .await
        .expect("run");
    let source = folder.path().join("p1.nii.gz");
    let bytes = cohort
        .place("cohort/p1.nii.gz")
        .read(1 << 30)
        .await
        .expect("read");
    std::fs::write(&source, bytes).expect("write");

    let read = Command::new(python)
        .args(["-c", READER])
        .arg(&out)
        .arg(&source)
        .output()
        .expect("python runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let found: serde_json::Value = serde_json::from_slice(&read.stdout).expect("json");
    assert_eq!(
        found["cases"],
        serde_json::json!([3, 3]),
        "as many rows as the manifest"
    );
    assert_eq!(found["vertebrae"], serde_json::json!([10, 10]));
    assert_eq!(
        found["labels"],
        serde_json::json!([0, 20, 21, 22, 23, 24]),
        "the input's own numbers"
    );
    assert_eq!(
        (&found["run"], &found["pruned"], &found["same_grid"]),
        (&"test".into(), &0.into(), &true.into())
    );
    // NIfTI holds affines in single precision
    assert!(found["affine"].as_f64().expect("number") < 1e-4, "{found}");
}
