-- A row a vertebra, whatever the number of runs: the latest, by the time at which its case's row was made. Rows from before
-- there was such a time are the oldest. Of equal times, the run with the greater id is the later one.
-- The latest row may be a failed one (status). A case that failed as a whole has no vertebrae, so an earlier run's stay.
-- Takes: latest_vertebrae.
SELECT * EXCLUDE (nth)
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY LOWER(case_id), level
            ORDER BY finished_at DESC NULLS LAST, run DESC
        ) AS nth
    FROM latest_vertebrae
) AS results
WHERE nth = 1
