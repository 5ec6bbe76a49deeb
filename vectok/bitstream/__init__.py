"""The .vtok file: semantic tokens entropy-coded, with a header, checksums, chunks and a prompt to speak them with."""
