"""The inverse K-means model: from semantic tokens and a prompt of the target speaker back to speech vectors.

Source: Vec-Tok Speech (arXiv v1), the codec decoder: a Conformer over the prompt's vectors and the centroids of the
tokens. *Deviation* (flag ``residual``): the output is the prompt's mean, plus the token's centroid, plus what the
Conformer adds, less its mean over time. The tokens are those of mean-removed vectors, so the mean is for the prompt to
say; where every language has one voice, a Conformer that sets it reads the voice off the language of the tokens.
*Deviation* (flag ``positions``): Whisper's vectors also say how far into the utterance they stand, above all in a tenth
of the channels; no token and no prompt knows it, so the output gets a learnt term for it.
*Deviation* (flag ``retrieval``): each token also brings the prompt's own frames nearest to its centroid, averaged as in
kNN-VC (arXiv 2305.18975). A Conformer that has heard few voices learns to copy sooner than to infer.
*Deviation* (``guidance``): where each language has one voice, tokens tell the voice too. What the model says of the
tokens without any prompt is that voice; the output moves away from it (classifier-free guidance, arXiv 2207.12598).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vectok.conformer import Conformer, ConformerConfig, pack, reorder, sinusoids
from vectok.folders import replacing
from vectok.knn_vc import averages

LENGTH_STEP = 16  # few lengths, few shapes that kernels are made for
FIRST_GAIN = 0.3  # of every channel on what the prompt's frames say


@dataclass(frozen=True, kw_only=True)
class InverseKMeansConfig:
    """Sizes of the inverse K-means model.

    Arguments:
        vector_dim: Dimension of the speech vectors and of the centroids.
        n_clusters: Number of tokens; the id ``n_clusters`` itself stands for a masked token.
        dim: Width of the Conformer.
        n_blocks: Conformer blocks.
        n_heads: Attention heads.
        ffn_dim: Inner width of the feed-forward layers.
        kernel_size: Frames that a convolution sees, odd.
        dropout: Probability of dropping.
        macaron: Two half-step feed-forward layers a block, or one.
        residual: Output = mean of the prompt + centroid + mean-free Conformer, instead of the Conformer alone.
        retrieval: The prompt's frames nearest to each centroid enter the Conformer beside it, and the output with a
            learnt gain of each channel.
        positions: A learnt term of the output for the frame's place in its utterance; for encoders such as Whisper,
            that add absolute positions to their input.
        guidance: How far :meth:`InverseKMeans.reconstruct` goes from what tokens say without a prompt towards what
            they say with it, and beyond: 0 ends there. For models that were trained with empty prompts too.
        window_frames: Longest stretch of tokens, and of prompt, that goes through the Conformer at once in
            :meth:`InverseKMeans.reconstruct`: about what it was trained on.
        overlap_frames: Frames that two such stretches share and cross-fade.
    """

    vector_dim: int
    n_clusters: int
    dim: int
    n_blocks: int
    n_heads: int
    ffn_dim: int
    kernel_size: int
    dropout: float
    macaron: bool
    residual: bool
    retrieval: bool = False
    positions: bool = False
    guidance: float = 0.0
    window_frames: int = 300
    overlap_frames: int = 50

    def conformer(self) -> ConformerConfig:
        """The part that is the Conformer's."""
        return ConformerConfig(
            dim=self.dim,
            n_blocks=self.n_blocks,
            n_heads=self.n_heads,
            ffn_dim=self.ffn_dim,
            kernel_size=self.kernel_size,
            dropout=self.dropout,
            macaron=self.macaron,
        )


def masked_mean(
    sequence: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch dim"]:
    r"""Mean of each sequence over its valid frames: :math:`\sum_t m_t x_t / \sum_t m_t`.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    kept = sequence.masked_fill(~mask[..., None], 0.0)
    return kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class InverseKMeans(nn.Module):
    r"""Vectors from tokens s and a prompt p.

    .. math:: \hat x_t = \bar p + c_{s_t} + h_t - \bar h, \quad
        h_t = W\, \mathrm{Conformer}([p; c_s, r_s])_t + g \odot (r_{s_t} - c_{s_t}) + P e_t

    Source: Vec-Tok Speech, the codec decoder. *Deviation*: the first two terms and the mean that is taken from h
    (``residual``), what the prompt's frames r say of each token, with a gain g of each channel (``retrieval``), and the
    last one, linear in the sinusoids e of the frame's place (``positions``).
    Arguments:
        config: Sizes.
        centroids: The K-means codebook, frozen; zeros (to be loaded) when it is not given.
    Raises:
        ValueError: The codebook's shape is not that of the config.
    """

    def __init__(self, config: InverseKMeansConfig, centroids: Float[Tensor, "clusters dim"] | None = None) -> None:
        super().__init__()
        self.config = config
        expected = (config.n_clusters, config.vector_dim)
        centroids = torch.zeros(expected) if centroids is None else centroids
        if tuple(centroids.shape) != expected:
            raise ValueError(f"expected centroids of shape {expected}, got {tuple(centroids.shape)}")
        self.register_buffer("centroids", centroids.clone())
        self.from_token = nn.Linear(config.vector_dim, config.dim)
        self.from_prompt = nn.Linear(config.vector_dim, config.dim)
        self.mask_embedding = nn.Parameter(torch.zeros(config.dim))
        self.segment_embedding = nn.Parameter(torch.randn(2, config.dim) * 0.02)
        self.conformer = Conformer(config.conformer())
        self.head = nn.Linear(config.dim, config.vector_dim)
        if config.residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        if config.retrieval:
            self.from_retrieved = nn.Linear(config.vector_dim, config.dim)
            self.gain = nn.Parameter(torch.full((config.vector_dim,), FIRST_GAIN))
        if config.positions:
            self.from_place = nn.Linear(2 * (config.vector_dim // 2), config.vector_dim, bias=False)
            nn.init.zeros_(self.from_place.weight)

    def extra_repr(self) -> str:
        """The numbers that matter."""
        return f"parameters={sum(p.numel() for p in self.parameters()):,}, residual={self.config.residual}"

    def look_up(self, tokens: Int[Tensor, "batch frames"]) -> Float[Tensor, "batch frames dim"]:
        """Centroids of the tokens; zeros, the centroids' own centre, for masked ones."""
        masked = tokens == self.config.n_clusters
        return self.centroids[tokens.masked_fill(masked, 0)].masked_fill(masked[..., None], 0.0)

    def forward(
        self,
        tokens: Int[Tensor, "batch frames"],
        token_mask: Bool[Tensor, "batch frames"],
        prompt: Float[Tensor, "batch prompt dim"],
        prompt_mask: Bool[Tensor, "batch prompt"],
        starts: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch frames dim"]:
        """Predicts a vector for each token, in the voice of the prompt.

        Arguments:
            tokens: Cluster ids, 50 a second; ``n_clusters`` for a masked one.
            token_mask: True where a token is real; False is padding, whose value is never used.
            prompt: Standardised vectors of the target speaker, from any utterance.
            prompt_mask: True where a prompt frame is real; a row may have none, whose mean then is 0.
            starts: Where in its utterance the first token of each row stands, in frames; zero when not given.
        """
        tokens = tokens.masked_fill(~token_mask, 0)
        prompt = prompt.masked_fill(~prompt_mask[..., None], 0.0)
        centroids = self.look_up(tokens)
        own = self._said_by_prompt(tokens, centroids, prompt, prompt_mask) if self.config.retrieval else centroids
        hidden = self._hidden(tokens, centroids, own, token_mask, prompt, prompt_mask)
        vectors = self.head(hidden).to(prompt.dtype)
        if self.config.retrieval:
            vectors = vectors + self.gain * (own - centroids)
        if self.config.positions:
            vectors = vectors + self._of_places(tokens, starts)
        if self.config.residual:
            vectors = vectors - masked_mean(vectors, token_mask)[:, None]
            vectors = vectors + centroids + masked_mean(prompt, prompt_mask)[:, None]
        return vectors

    def _said_by_prompt(
        self, tokens: Tensor, centroids: Tensor, prompt: Tensor, prompt_mask: Tensor
    ) -> Float[Tensor, "batch frames dim"]:
        """How the prompt's voice says each token; its centroid, where it is masked or the prompt is empty."""
        masked = tokens == self.config.n_clusters
        rows = tokens.masked_fill(masked, 0)[..., None].expand(-1, -1, self.config.vector_dim)
        with torch.autocast(prompt.device.type, enabled=False):  # neighbours must not depend on the rounding of bf16
            prompt = prompt.float() - masked_mean(prompt.float(), prompt_mask)[:, None]
            found = averages(self.centroids, prompt, prompt_mask)
        unsaid = masked | ~prompt_mask.any(1, keepdim=True)
        return torch.where(unsaid[..., None], centroids, found.gather(1, rows))

    def _of_places(self, tokens: Tensor, starts: Tensor | None) -> Float[Tensor, "batch frames dim"]:
        """The output's term for each frame's place in its utterance."""
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        places = places if starts is None else places + starts[:, None]
        return self.from_place(sinusoids(places, self.config.vector_dim)).to(self.centroids.dtype)

    def _hidden(
        self, tokens: Tensor, centroids: Tensor, own: Tensor, token_mask: Tensor, prompt: Tensor, prompt_mask: Tensor
    ) -> Float[Tensor, "batch frames dim"]:
        """The Conformer over prompt and tokens, packed: prompts of any padding stand directly before the tokens."""
        masked = (tokens == self.config.n_clusters)[..., None]
        content = self.from_token(centroids) + masked * self.mask_embedding + self.segment_embedding[1]
        content = content + self.from_retrieved(own) if self.config.retrieval else content
        voice = self.from_prompt(prompt) + self.segment_embedding[0]
        mask = torch.cat([prompt_mask, token_mask], 1)
        order = pack(mask)
        places = order.argsort(1)[:, prompt.shape[1] :]
        longest = -(-int(mask.sum(1).max()) // LENGTH_STEP) * LENGTH_STEP
        order = order[:, :longest]  # the rest is padding in every row
        packed = self.conformer(reorder(torch.cat([voice, content], 1), order), mask.gather(1, order))
        return reorder(packed, places.clamp(max=packed.shape[1] - 1))

    @torch.no_grad()
    def reconstruct(
        self, tokens: Int[Tensor, " frames"], prompt: Float[Tensor, "prompt dim"]
    ) -> Float[Tensor, "frames dim"]:
        r"""Vectors of one utterance of any length, in overlapping windows that are cross-faded.

        .. math:: \hat x_t(s, p) + w\, (\hat x_t(s, p) - \bar p - \hat x_t(s, \emptyset)), \quad w = \text{guidance}

        Arguments:
            tokens: Cluster ids of the source utterance.
            prompt: Standardised vectors of the target speaker; frames beyond ``window_frames`` only sharpen its mean.
        Raises:
            ValueError: No tokens, no prompt, a token outside the codebook, or a prompt of another dimension.
        """
        self._check(tokens, prompt)
        window, overlap = self.config.window_frames, self.config.overlap_frames
        near = prompt[:window]
        vectors = torch.zeros(len(tokens), self.config.vector_dim, device=prompt.device)
        weights = torch.zeros(len(tokens), 1, device=prompt.device)
        for start in range(0, max(1, len(tokens) - overlap), window - overlap):
            part = tokens[start : start + window].long()[None]
            weight = _fade(part.shape[1], overlap).to(prompt.device)
            vectors[start : start + window] += weight * self._guided(part, near, start)
            weights[start : start + window] += weight
        moved = prompt.mean(0) - near.mean(0) if self.config.residual else 0.0
        return vectors / weights + moved

    def _guided(self, tokens: Tensor, prompt: Tensor, start: int) -> Float[Tensor, "frames dim"]:
        """One window, with its prompt and, where there is guidance, without any."""
        weight, vectors = self.config.guidance, self._alone(tokens, prompt, start)
        if not weight:
            return vectors
        mean = prompt.mean(0) if self.config.residual else 0.0
        return vectors + weight * (vectors - mean - self._alone(tokens, prompt[:0], start))

    def _alone(self, tokens: Tensor, prompt: Tensor, start: int) -> Float[Tensor, "frames dim"]:
        """One window in a pass of its own, so that no padding stands where there is no prompt."""
        real = torch.ones(1, tokens.shape[1] + len(prompt), dtype=torch.bool, device=tokens.device)
        token_mask, prompt_mask = real.split([tokens.shape[1], len(prompt)], 1)
        return self(tokens, token_mask, prompt[None], prompt_mask, torch.tensor([start], device=tokens.device))[0]

    def _check(self, tokens: Tensor, prompt: Tensor) -> None:
        if not len(tokens) or not len(prompt):
            raise ValueError(f"expected tokens and a prompt, got {len(tokens)} tokens and {len(prompt)} prompt frames")
        if prompt.shape[1] != self.config.vector_dim:
            raise ValueError(f"expected prompt vectors of dim {self.config.vector_dim}, got {prompt.shape[1]}")
        if int(tokens.min()) < 0 or int(tokens.max()) >= self.config.n_clusters:
            raise ValueError(
                f"expected tokens in [0, {self.config.n_clusters}), got {int(tokens.min())} to {int(tokens.max())}: "
                "were they made with this model's codebook?"
            )

    def save(self, folder: Path) -> None:
        """Writes config.json and model.safetensors beside their place, then moves the folder there."""
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        with replacing(folder) as partial:
            (partial / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n")
            save_file(weights, partial / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "InverseKMeans":
        """Reads what :meth:`save` wrote, ready for inference.

        Raises:
            ValueError: The folder holds no such model.
        """
        if not (folder / "config.json").exists():
            raise ValueError(f"no inverse K-means model in {folder}: run the codec stage first")
        model = cls(InverseKMeansConfig(**json.loads((folder / "config.json").read_text())))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()


def _fade(n_frames: int, overlap: int) -> Float[Tensor, "frames 1"]:
    """Weights that rise over the first frames and fall over the last, and never reach zero."""
    distance = torch.minimum(torch.arange(n_frames) + 1, n_frames - torch.arange(n_frames))
    return (distance / (overlap + 1)).clamp(max=1.0)[:, None]
