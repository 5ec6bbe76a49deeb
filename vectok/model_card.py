"""The model card of a release: what it is, what it was trained on, whose voices these are, what not to do with it."""

import json

EMBEDDED_PROFILES = ("smoke", "embedded")

TITLE = """# Vec-Tok Speech, profile {profile}

A re-implementation of Vec-Tok Speech (arXiv 2310.07246): speech vectors, semantic tokens, and the way back.

```python
import vectok

model = vectok.load("path/to/this/folder")  # checks every file against SHA256SUMS
converted = model.convert("anyone.wav", target="someone.wav")  # float32 samples at 16 kHz
```
"""

SPEAKING = """## Speaking texts

```python
from vectok.language import load_language

system = load_language("path/to/this/folder")
spoken = system.say("press one", language="en", voice="someone.wav")  # .audio, .text, .score, .stopped
```
"""

FILES = """## Files of tokens

`vectok encode anyone.wav --prompt-seconds 3 --out files/ --model path/to/this/folder` writes a .vtok file that carries
its own voice, and `vectok decode` says it again. In Python:

```python
from vectok.bitstream import files, systems

coder = systems.coder_of(model)
content = systems.encode(model, coder, "anyone.wav", prompt="someone.wav")
files.write("anyone.vtok", coder, content)
audio = systems.decode(model, coder, files.read("anyone.vtok", coder))
```
"""

SCALE = """## Scale

Trained on about two hours of five studio voices within minutes of two CPU cores. It shows that every part of the method
works; it is no match for the paper's system, which saw tens of thousands of hours. Voices unlike the five, noise, music
and other languages than English, Spanish, French, Italian and Russian are far from what it has seen.
"""

LICENCES = """## Licences and credits

- Code: Apache-2.0.
- Encoder: the encoder of Whisper-base by OpenAI, MIT. Its weights are not in this folder: `vectok.load` takes them from
  the installed packages or from the hub and checks their hash.
- Trained parts (codebook, BPE model, codec, vocoder, language model, CLVP) and voices come from the Asterisk core
  sounds 1.6.1: English and Spanish by Allison Smith, French by June Wallack (CC BY-SA 3.0); Italian by Carlo Flora,
  Russian by Maxim Topal / ivrvoice.ru (CC BY 3.0). Publish audio that is derived from those recordings under
  CC BY-SA 3.0 with these credits.
"""

CONSENT = """## Consent and use

Nobody whose voice was used for training consented to having it cloned. Convert to a voice only with its owner's
consent, say of converted speech that it is converted, and do not use this to deceive, to impersonate or to pass a check
of identity.
"""

OTHER_CORPUS = """## Licences and credits

- Code: Apache-2.0. The encoder's weights are not in this folder; the licence of their publisher applies.
- The trained parts carry the conditions of the corpus of this profile: state its licence and credits here before you
  publish this folder.
"""


def _parts_table(configs: dict[str, dict]) -> str:
    """One row a part."""
    encoder, kmeans, bpe = configs["encoder"], configs["kmeans"], configs["bpe"]
    codec, vocoder = configs["codec"], configs["vocoder"]
    rows = [
        ("encoder/", f"{encoder['encoder']}, layer {encoder['layer']}: name, hash and channel statistics"),
        ("kmeans/", f"{kmeans['n_clusters']} centroids of {kmeans['dim']} numbers"),
        ("bpe/", f"{bpe['n_vocab']} pieces"),
        ("codec/", f"inverse K-means, {codec['n_parameters']:,} numbers"),
        ("vocoder/", f"{vocoder.get('kind', 'vocoder')}, {vocoder['n_parameters']:,} numbers"),
    ]
    if lm := configs.get("lm"):
        rows.append(("lm/", f"LLaMA over text and pieces, {lm['n_parameters']:,} numbers, with its vocabulary"))
    if clvp := configs.get("clvp"):
        rows.append(("clvp/", f"text and speech towers that rank candidates, {clvp['n_parameters']:,} numbers"))
    if bitstream := configs.get("bitstream"):
        rows.append(("bitstream/", f"how probable each piece is, {bitstream['n_parameters']:,} whole numbers"))
    if voices := configs.get("voices"):
        rows.append(("voices/", f"{voices['n_voices']} pseudo voices to anonymise with, as speech vectors"))
    return "## Parts\n\n| folder | what |\n|---|---|\n" + "".join(f"| {name} | {what} |\n" for name, what in rows)


def model_card(profile: str, configs: dict[str, dict], metrics: dict[str, object]) -> str:
    """The card as Markdown.

    Arguments:
        profile: Which profile was packed.
        configs: config.json of each part, with ``n_parameters`` where it has weights.
        metrics: What the profile's stages measured, printed as it is.
    """
    sections = [TITLE.format(profile=profile), *[SPEAKING] * ("lm" in configs), *[FILES] * ("bitstream" in configs)]
    sections += [_parts_table(configs)]
    sections += [SCALE, LICENCES] if profile in EMBEDDED_PROFILES else [OTHER_CORPUS]
    sections += [CONSENT]
    if test := metrics.get("bpe", {}).get("rates", {}).get("test", {}).get("all"):
        sections.append(f"## Rates on the test split\n\n```json\n{json.dumps(test, indent=2)}\n```\n")
    sections.append("## Measurements\n\nmetrics.json holds what every stage measured when these parts were made.\n")
    return "\n".join(sections)
