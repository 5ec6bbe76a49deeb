"""Units of the metrics, in the order in which tables list them, and what multiplies a ratio of sums."""

PERCENT_METRICS = ("wer", "cer", "dwer", "dcer")
UNITS = {
    **dict.fromkeys(PERCENT_METRICS, "%"),
    **dict.fromkeys(("scs", "scs_prompt", "scs_source", "scs_margin"), "cosine"),
    **dict.fromkeys(("distillmos", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"), "MOS 1-5"),
    **dict.fromkeys(("bits_per_second", "entropy_bits_per_second"), "bit/s"),
    "tokens_per_second": "1/s",
    "rtf": "processing s / audio s, lower is better",
    "peak_memory_mb": "MiB",
    "seconds": "s",
    "n_parameters": "1",
}
SCALES = dict.fromkeys(PERCENT_METRICS, 100.0)
LOWER_IS_BETTER = (*PERCENT_METRICS, "scs_source", "rtf", "peak_memory_mb")
RATES = ("tokens_per_second", "bits_per_second", "entropy_bits_per_second")
CLIP_METRICS = tuple(name for name in UNITS if name not in {*RATES, "rtf", "peak_memory_mb", "seconds", "n_parameters"})
