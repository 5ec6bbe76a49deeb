"""What a system does besides conversion, with nothing trained anew: anonymise, denoise, extend the band.

All three keep a recording's tokens, so its words and its timing, and choose another prompt.
"""
