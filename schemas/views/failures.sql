-- A row a run, stage, kind and reason: how many cases failed so, and how many vertebrae failed alone in cases that were
-- done. Of vertebrae no stage is known: it is null.
-- Takes: latest_cases, latest_vertebrae.
SELECT
    run,
    stage,
    kind,
    reason,
    CAST(SUM(is_case) AS BIGINT) AS cases,
    CAST(SUM(is_vertebra) AS BIGINT) AS vertebrae
FROM (
    SELECT run, stage, kind, reason, 1 AS is_case, 0 AS is_vertebra
    FROM latest_cases
    WHERE status = 'failed'
    UNION ALL
    SELECT run, CAST(NULL AS VARCHAR) AS stage, kind, reason, 0 AS is_case, 1 AS is_vertebra
    FROM latest_vertebrae
    WHERE status = 'failed'
) AS failed
GROUP BY run, stage, kind, reason
