-- A row a pair of runs and vertebra that both have: the same case and level. Each pair is there both ways round: filter by
-- run and other_run. A difference is the other run's metric of the reconstruction minus this run's, null where one lacks it.
-- The input's Dice coefficients tell whether both runs started from the same mask.
-- Takes: latest_vertebrae.
SELECT
    this.run,
    other.run AS other_run,
    this.case_id,
    this.person,
    this.level,
    this.status,
    other.status AS other_status,
    this.chain,
    other.chain AS other_chain,
    this.model_version,
    other.model_version AS other_model_version,
    this.input_dsc,
    other.input_dsc AS other_input_dsc,
    this.recon_dsc,
    other.recon_dsc AS other_recon_dsc,
    other.recon_dsc - this.recon_dsc AS recon_dsc_difference,
    this.recon_vs,
    other.recon_vs AS other_recon_vs,
    other.recon_vs - this.recon_vs AS recon_vs_difference,
    this.recon_sen,
    other.recon_sen AS other_recon_sen,
    other.recon_sen - this.recon_sen AS recon_sen_difference,
    this.recon_spec,
    other.recon_spec AS other_recon_spec,
    other.recon_spec - this.recon_spec AS recon_spec_difference,
    this.recon_ppv,
    other.recon_ppv AS other_recon_ppv,
    other.recon_ppv - this.recon_ppv AS recon_ppv_difference,
    this.recon_npv,
    other.recon_npv AS other_recon_npv,
    other.recon_npv - this.recon_npv AS recon_npv_difference,
    this.recon_nmi,
    other.recon_nmi AS other_recon_nmi,
    other.recon_nmi - this.recon_nmi AS recon_nmi_difference,
    this.recon_ck,
    other.recon_ck AS other_recon_ck,
    other.recon_ck - this.recon_ck AS recon_ck_difference,
    this.recon_jaccard,
    other.recon_jaccard AS other_recon_jaccard,
    other.recon_jaccard - this.recon_jaccard AS recon_jaccard_difference,
    this.recon_hd95_mm,
    other.recon_hd95_mm AS other_recon_hd95_mm,
    other.recon_hd95_mm - this.recon_hd95_mm AS recon_hd95_mm_difference,
    this.recon_assd_mm,
    other.recon_assd_mm AS other_recon_assd_mm,
    other.recon_assd_mm - this.recon_assd_mm AS recon_assd_mm_difference
FROM latest_vertebrae AS this
INNER JOIN latest_vertebrae AS other
    ON LOWER(this.case_id) = LOWER(other.case_id)
    AND this.level = other.level
WHERE this.run <> other.run
