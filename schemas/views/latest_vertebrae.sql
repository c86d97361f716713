-- A row a vertebra and run: of each case the rows of its highest attempt, with the time and the software of the case's row.
-- Rows whose case was never committed, since its start was killed, are left out.
-- Takes: vertebrae, latest_cases.
SELECT * EXCLUDE (nth)
FROM (
    SELECT
        vertebrae.*,
        latest_cases.software_version,
        latest_cases.finished_at,
        ROW_NUMBER() OVER (
            PARTITION BY vertebrae.run, LOWER(vertebrae.case_id), vertebrae.level
            ORDER BY vertebrae.attempt DESC
        ) AS nth
    FROM vertebrae
    INNER JOIN latest_cases
        ON vertebrae.run = latest_cases.run
        AND vertebrae.case_id = latest_cases.case_id
        AND vertebrae.attempt = latest_cases.attempt
) AS committed
WHERE nth = 1
