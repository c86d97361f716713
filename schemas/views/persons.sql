-- A row a person and run: cases, vertebrae, failures, and the Dice coefficient (DSC) of input and reconstruction.
-- Means and minima are over vertebrae with a reference, null without any. dsc_gain_mean: mean of reconstruction minus input.
-- person is null for cases of which nobody knows the person: rows of the manifest without a usable id.
-- Takes: latest_cases, latest_vertebrae.
SELECT
    fates.run,
    fates.person,
    fates.cases,
    fates.cases_failed,
    fates.vertebrae,
    fates.vertebrae_failed,
    COALESCE(scores.vertebrae_scored, 0) AS vertebrae_scored,
    scores.input_dsc_mean,
    scores.input_dsc_min,
    scores.recon_dsc_mean,
    scores.recon_dsc_min,
    scores.dsc_gain_mean
FROM (
    SELECT
        run,
        person,
        COUNT(*) AS cases,
        CAST(SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS BIGINT) AS cases_failed,
        CAST(SUM(vertebrae) AS BIGINT) AS vertebrae,
        CAST(SUM(vertebrae_failed) AS BIGINT) AS vertebrae_failed
    FROM latest_cases
    GROUP BY run, person
) AS fates
LEFT JOIN (
    SELECT
        run,
        person,
        COUNT(recon_dsc) AS vertebrae_scored,
        AVG(input_dsc) AS input_dsc_mean,
        MIN(input_dsc) AS input_dsc_min,
        AVG(recon_dsc) AS recon_dsc_mean,
        MIN(recon_dsc) AS recon_dsc_min,
        AVG(recon_dsc - input_dsc) AS dsc_gain_mean
    FROM latest_vertebrae
    GROUP BY run, person
) AS scores
    ON fates.run = scores.run AND fates.person = scores.person
