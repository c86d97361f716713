-- A row a pair of runs and level, and one of all levels together: vertebrae that both runs have, those scored in both, the
-- mean difference (other_run minus run), and the share of those scored in which the other run is better: a greater Dice
-- coefficient, a smaller distance. Equal is not better.
-- Takes: run_comparison.
SELECT
    run,
    other_run,
    level,
    COUNT(*) AS vertebrae,
    COUNT(recon_dsc_difference) AS vertebrae_scored,
    AVG(recon_dsc_difference) AS recon_dsc_difference_mean,
    AVG(
        CASE WHEN recon_dsc_difference > 0 THEN 1.0 WHEN recon_dsc_difference IS NOT NULL THEN 0.0 END
    ) AS recon_dsc_share_better,
    AVG(recon_hd95_mm_difference) AS recon_hd95_mm_difference_mean,
    AVG(
        CASE WHEN recon_hd95_mm_difference < 0 THEN 1.0 WHEN recon_hd95_mm_difference IS NOT NULL THEN 0.0 END
    ) AS recon_hd95_mm_share_better,
    AVG(recon_assd_mm_difference) AS recon_assd_mm_difference_mean,
    AVG(
        CASE WHEN recon_assd_mm_difference < 0 THEN 1.0 WHEN recon_assd_mm_difference IS NOT NULL THEN 0.0 END
    ) AS recon_assd_mm_share_better
FROM run_comparison
GROUP BY run, other_run, level
UNION ALL
SELECT
    run,
    other_run,
    'all' AS level,
    COUNT(*) AS vertebrae,
    COUNT(recon_dsc_difference) AS vertebrae_scored,
    AVG(recon_dsc_difference) AS recon_dsc_difference_mean,
    AVG(
        CASE WHEN recon_dsc_difference > 0 THEN 1.0 WHEN recon_dsc_difference IS NOT NULL THEN 0.0 END
    ) AS recon_dsc_share_better,
    AVG(recon_hd95_mm_difference) AS recon_hd95_mm_difference_mean,
    AVG(
        CASE WHEN recon_hd95_mm_difference < 0 THEN 1.0 WHEN recon_hd95_mm_difference IS NOT NULL THEN 0.0 END
    ) AS recon_hd95_mm_share_better,
    AVG(recon_assd_mm_difference) AS recon_assd_mm_difference_mean,
    AVG(
        CASE WHEN recon_assd_mm_difference < 0 THEN 1.0 WHEN recon_assd_mm_difference IS NOT NULL THEN 0.0 END
    ) AS recon_assd_mm_share_better
FROM run_comparison
GROUP BY run, other_run
