-- A row a case and run: its highest attempt, the one that counts. Case ids are compared without case, as a run does.
-- A compaction that was killed leaves some rows twice until the next start. Here they are once.
-- Takes: cases.
SELECT * EXCLUDE (nth)
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY run, LOWER(case_id) ORDER BY attempt DESC) AS nth
    FROM cases
) AS attempts
WHERE nth = 1
