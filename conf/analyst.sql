-- What one asks first of the tables `cases` and `vertebrae`. conf/analyst.py brings them. In a DuckDB with httpfs and a
-- secret for the store:
--   CREATE VIEW cases AS FROM read_parquet('s3://spine/results/tables/cases/**/*.parquet', hive_partitioning = true);
-- and vertebrae in the same way.

-- A case that was done again has a row for each attempt: the highest counts. One row of it: while `compact` is at work,
-- or was killed, a merged part and those that it takes the place of may both be there, with the same rows.
CREATE TEMP VIEW last_cases AS
FROM cases QUALIFY row_number() OVER (PARTITION BY run, case_id ORDER BY attempt DESC) = 1;

CREATE TEMP VIEW last_vertebrae AS
FROM vertebrae SEMI JOIN last_cases USING (run, case_id, attempt)
QUALIFY row_number() OVER (PARTITION BY run, case_id, level) = 1;

-- What became of the cases.
SELECT run, status, count(*) AS cases, sum(vertebrae)::BIGINT AS vertebrae, sum(vertebrae_failed)::BIGINT AS failed
FROM last_cases GROUP BY ALL ORDER BY ALL;

-- Means by level. A mean leaves out the vertebrae without a reference: their metrics are null.
SELECT run, level, count(*) AS vertebrae, count(recon_dsc) AS measured,
       round(avg(input_dsc), 3) AS input_dsc, round(avg(recon_dsc), 3) AS recon_dsc,
       round(avg(input_hd95_mm), 2) AS input_hd95_mm, round(avg(recon_hd95_mm), 2) AS recon_hd95_mm
FROM last_vertebrae WHERE status = 'done' GROUP BY ALL ORDER BY ALL;

-- Whose matter the failures are.
SELECT run, 'case' AS failed, kind, reason, count(*) AS times
FROM last_cases WHERE status = 'failed' GROUP BY ALL
UNION ALL
SELECT run, 'vertebra', kind, reason, count(*)
FROM last_vertebrae WHERE status = 'failed' GROUP BY ALL
ORDER BY ALL;
