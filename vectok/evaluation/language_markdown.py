"""The language side's tables for people."""

import pandas as pd

from vectok.evaluation.markdown import grid, wide

LANGUAGE_TITLES = {
    "table3_tts": "Table 3: zero-shot TTS and style transfer",
    "table4_s2st": "Table 4: speech-to-speech translation",
    "continuation": "Speech continuation",
    "asr": "Speech recognition from tokens",
    "clvp_curve": "Choosing among N candidates",
    "tts_seeds": "TTS with three seeds",
    "bits": "Bits per second of speech",
    "language_cost": "Cost of the language side",
}
LANGUAGE_SHOWN = {
    "table3_tts": ("cer", "wer", "scs", "scs_prompt", "distillmos", "duration_ratio", "early_stop", "unstopped",
                   "repetition"),
    "table4_s2st": ("bleu", "chrf", "text_chrf", "cer", "scs", "distillmos", "duration_ratio"),
    "continuation": ("known_words", "scs", "scs_prompt", "distillmos", "duration_ratio", "repetition", "unstopped"),
    "asr": ("cer", "wer"),
    "clvp_curve": ("cer",),
    "tts_seeds": ("cer", "wer"),
    "bits": ("bits_per_second",),
    "language_cost": ("ids_per_second", "n_ids", "rtf", "n_parameters", "seconds", "peak_memory_mb"),
}  # fmt: skip
LANGUAGE_NOTES = {
    "table3_tts": (
        "Conditions are languages; seen and unseen are prompt voices in and out of training; known words: only texts "
        "all of whose words occur in the training texts of the language. ground_truth is the recording, tokens the "
        "codec's resynthesis of its true tokens (the ceiling of any LM over them); tts is the best candidate by "
        "the LM's likelihood and CLVP together, tts_clvp by CLVP alone (the paper's), tts_first the first one; "
        "style_transfer speaks the tokens of a prompt of training in a voice never seen; shuffled_text scores what was "
        "said for another text of the language; unigram draws pieces from their frequencies. Texts alternate between "
        "known and other words, as far as there are both."
    ),
    "table4_s2st": (
        "Conditions are directions; all is their mean. s2st keeps the source's voice: scs compares with it. "
        "ground_truth is the recording of the target text (the ceiling), shuffled_references the same translations "
        "against other references of like length (quartiles; mean over several exchanges). text_bleu and text_chrf "
        "score the text that is said, without any ASR. It is the translation of the training text nearest to the LM's "
        "transcript, where one is alike; lm is what the LM writes itself (greedy, reading the same)."
    ),
    "continuation": (
        "Three seconds of a test recording are given. ground_truth is the recording's own rest, tokens the codec's "
        "resynthesis of it, unigram pieces drawn from their frequencies. known_words is the share of words, as the "
        "ASR hears them, that occur in the training texts."
    ),
    "asr": (
        "lm reads the true tokens of the recordings; whisper_recording and whisper_tokens are the scoring ASR on the "
        "recording and on the codec's resynthesis; shuffled_references is lm against another text of its language."
    ),
    "clvp_curve": (
        "The first N candidates of each text: chosen by the LM's likelihood and CLVP together (both), by CLVP, by the "
        "likelihood for each id, at random (expectation), and by the scoring ASR itself (a bound, no system). Seconds "
        "against N stand in the cost table."
    ),
    "tts_seeds": "Best of a few candidates for each seed. mean_of_seeds: brackets are least and greatest.",
    "bits": (
        "Teacher-forced bits of the pieces over seconds of speech, on dev: with the right text, with another "
        "utterance's, and of a unigram over the pieces."
    ),
    "language_cost": (
        "Generation: ids that 64 candidates of one prompt take a second, here and by transformers' generate candidate "
        "by candidate, in one run. Best of N: seconds for one text, and the real-time factor of that. Lower is better."
    ),
}


def header(name: str, table: pd.DataFrame, information: dict) -> str:
    """What stands above a table: title, note, test list, models, normaliser and how the intervals were made."""
    models = [model for model in table["model"].unique() if isinstance(model, str) and model]
    top = f"### {LANGUAGE_TITLES[name]}\n\n{LANGUAGE_NOTES[name]}"
    if name in ("language_cost", "bits"):
        return f"{top} Measured on: {'; '.join(models)}."
    return (
        f"{top}\n\nTest list: {', '.join(table['test_list'].unique())}. Models: {'; '.join(models)}. Text normaliser: "
        f"{information['normaliser']}. {information['asr_note']} Brackets: 95 % bootstrap intervals, "
        f"{information['n_draws']:,} draws, {information['resampling'].get(name, 'over prompts')}."
    )


def differences_grid(differences: pd.DataFrame) -> str:
    """Paired differences as Markdown."""
    rows = [
        [row.system, row.baseline, row.condition, row.metric, f"{row.value:+.2f} [{row.low:+.2f}, {row.high:+.2f}]",
         f"{row.p_holm:.4f}", str(row.n)]
        for row in differences.itertuples()
    ]  # fmt: skip
    return grid(rows, ["system", "minus", "condition", "metric", "difference", "p (Holm)", "n"])


def page(name: str, table: pd.DataFrame, differences: pd.DataFrame, information: dict) -> str:
    """One table as a Markdown page, with its paired differences over all languages."""
    parts = [header(name, table, information), wide(table, LANGUAGE_SHOWN[name])]
    own = differences[differences["table"] == name]
    if name != "clvp_curve":
        own = own[own["condition"].str.startswith("all")]
    if len(own):
        parts += ["Paired differences:", differences_grid(own)]
    return "\n\n".join(parts) + "\n"
