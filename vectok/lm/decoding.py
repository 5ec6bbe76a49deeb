"""Cached decoding of many sequences at once, each of its own length, with the same result in any company.

The rows of a step are sequences in flight. Each has its own length: keys and values stand left-aligned in one cache,
and a row's next pair goes to the row's own place. A finished row's place is taken by a waiting sequence or by the last
row, so that nothing is computed for sequences that have ended. Sequences with equal prefixes share its one encoding.
"""

from abc import ABC
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformers import AttentionInterface, AttentionMaskInterface, Cache, LlamaForCausalLM
from transformers.masking_utils import eager_mask

from vectok.lm.model import LanguageModel

# Matrix products round a row alike in batches of these multiples (measured with MKL on one and on two threads).
ROW_STEP = 4
LENGTH_STEP = 16


class Row(ABC):  # noqa: B024 - abstract by its purpose
    """One sequence in flight.

    Arguments:
        prefix: Ids that are given; one at least.
    Shape:
        ``next_id`` is what the next step reads; ``done`` ends the row before it is read.
    Raises:
        ValueError: An empty prefix.
    """

    def __init__(self, prefix: Sequence[int]) -> None:
        if not len(prefix):
            raise ValueError("expected a prefix of one id at least, got none: begin with a task's tag")
        self.prefix = tuple(prefix)
        self.next_id, self.done = self.prefix[-1], False


class Encoded(NamedTuple):
    """Keys and values of all but the last id of a prefix."""

    keys: Float[Tensor, "layers heads places dim"]
    values: Float[Tensor, "layers heads places dim"]


class RaggedCache(Cache):
    """Keys and values of rows of different lengths, [layers, rows, heads, places, dim], left-aligned.

    It grows by a quarter, first the keys and then the values: what it holds is copied.

    Arguments:
        model: Whose sizes and device it takes.
        n_rows: Rows; more places are made when they are needed.
    """

    def __init__(self, model: LlamaForCausalLM, n_rows: int) -> None:
        super().__init__(layers=[])
        config, weight = model.config, model.lm_head.weight
        head_dim = config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, n_rows, config.num_key_value_heads, 0, head_dim)
        self.keys = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.values = self.keys.clone()
        self.lengths = torch.zeros(n_rows, dtype=torch.int64, device=weight.device)
        self.n_places = 0

    def reserve(self, n_places: int) -> None:
        """Makes room for rows of ``n_places``, and reads so many from now on."""
        self.n_places = -(-n_places // LENGTH_STEP) * LENGTH_STEP
        if missing := max(0, self.n_places - self.keys.shape[3]):
            grown = (0, 0, 0, max(missing, self.keys.shape[3] // 4))
            self.keys = torch.nn.functional.pad(self.keys, grown)
            self.values = torch.nn.functional.pad(self.values, grown)

    def update(
        self,
        key_states: Float[Tensor, "rows heads 1 dim"],
        value_states: Float[Tensor, "rows heads 1 dim"],
        layer_idx: int,
    ) -> tuple[Float[Tensor, "rows heads places dim"], Float[Tensor, "rows heads places dim"]]:
        """Puts each row's pair to the row's place; what stands beyond a row's length is masked by the caller."""
        n_rows = len(key_states)
        rows, places = torch.arange(n_rows, device=key_states.device), self.lengths[:n_rows]
        self.keys[layer_idx][rows, :, places] = key_states[:, :, 0]
        self.values[layer_idx][rows, :, places] = value_states[:, :, 0]
        return self.keys[layer_idx, :n_rows, :, : self.n_places], self.values[layer_idx, :n_rows, :, : self.n_places]

    def put(self, row: int, encoded: Encoded) -> None:
        """Begins a row with an encoded prefix."""
        n_places = encoded.keys.shape[2]
        self.reserve(max(n_places, self.n_places))
        self.keys[:, row, :, :n_places], self.values[:, row, :, :n_places] = encoded.keys, encoded.values
        self.lengths[row] = n_places

    def move(self, source: int, target: int) -> None:
        """Copies a row over another one; the source is empty then."""
        n_places = int(self.lengths[source])
        for part in (self.keys, self.values):
            part[:, target, :, :n_places] = part[:, source, :, :n_places]
        self.lengths[target] = n_places
        self.lengths[source] = 0


class Decoder:
    """Steps of a language model over the rows of a :class:`RaggedCache`.

    Arguments:
        model: In evaluation mode.
        n_rows: Sequences in flight, at most.
    """

    def __init__(self, model: LanguageModel, n_rows: int) -> None:
        self.model, self.n_active = model, 0
        self.cache = RaggedCache(model.llama, -(-n_rows // ROW_STEP) * ROW_STEP)

    def encode(self, prefix: Sequence[int]) -> Encoded:
        """Reads all but the last id of a prefix, alone, so that nothing in flight can change it."""
        device = self.cache.lengths.device
        if len(prefix) == 1:
            return Encoded(self.cache.keys[:, 0, :, :0], self.cache.values[:, 0, :, :0])
        ids = torch.tensor([prefix[:-1]], device=device)
        layers = self.model.llama.model(input_ids=ids, use_cache=True).past_key_values.layers
        return Encoded(torch.cat([layer.keys for layer in layers]), torch.cat([layer.values for layer in layers]))

    def admit(self, encoded: Encoded) -> None:
        """Takes a sequence in as the last row."""
        self.cache.put(self.n_active, encoded)
        self.n_active += 1

    def release(self, row: int) -> None:
        """Drops a row; the last one takes its place."""
        self.n_active -= 1
        self.cache.move(self.n_active, row)

    def step(self, ids: Sequence[int]) -> Float[Tensor, "rows vocab"]:
        """Reads one id a row and scores the next one. Rows that only fill up to a multiple are empty."""
        cache, n_rows = self.cache, -(-self.n_active // ROW_STEP) * ROW_STEP
        lengths = cache.lengths[:n_rows]
        cache.reserve(int(lengths.max()) + 1)
        fed = torch.zeros(n_rows, 1, dtype=torch.int64, device=lengths.device)
        fed[: self.n_active, 0] = torch.tensor(list(ids), device=lengths.device)
        later = torch.arange(cache.n_places, device=lengths.device) > lengths[:, None]
        mask = torch.zeros(later.shape, dtype=cache.keys.dtype, device=lengths.device).masked_fill(later, -torch.inf)
        states = self.model.llama.model(
            input_ids=fed, position_ids=lengths[:, None], attention_mask=mask[:, None, None],
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        cache.lengths[: self.n_active] += 1
        return self.model.logits(states.last_hidden_state[:, 0])[: self.n_active].float()


def grouped_attention(
    query: Float[Tensor, "rows heads queries dim"],
    key: Float[Tensor, "rows kv_heads places dim"],
    value: Float[Tensor, "rows kv_heads places dim"],
    attention_mask: Float[Tensor, "rows 1 queries places"] | None,
    scaling: float,
) -> Float[Tensor, "rows queries heads dim"]:
    """Attention by two matrix products, the queries that share keys side by side, so that keys are read once.

    Decoding takes as long as reading keys and values takes; transformers' own copies them for every head. Fused
    attention rounds differently by the number of rows.
    """
    n_rows, n_heads, n_queries, dim = query.shape
    n_kv_heads = key.shape[1]
    grouped = query.reshape(n_rows, n_kv_heads, -1, dim) * scaling
    scores = (grouped @ key.transpose(2, 3)).view(n_rows, n_heads, n_queries, -1)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1).view(n_rows, n_kv_heads, -1, key.shape[2])
    return (weights @ value).view(n_rows, n_heads, n_queries, dim).transpose(1, 2)


GROUPED = "vectok_grouped"
# transformers gives the layer first and more behind the mask, and takes weights back, of which it makes no use here.
AttentionInterface.register(
    GROUPED, lambda layer, *given, scaling, **_: (grouped_attention(*given, scaling=scaling), None)
)
AttentionMaskInterface.register(GROUPED, eager_mask)


@contextmanager
def _plain_attention(model: LlamaForCausalLM) -> Iterator[None]:
    """Attention by :func:`grouped_attention`."""
    before = model.config._attn_implementation
    model.set_attn_implementation(GROUPED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


Advance = Callable[[list[Row], Float[Tensor, "rows vocab"]], None]


@torch.no_grad()
def decode(model: LanguageModel, rows: Sequence[Row], advance: Advance, n_rows: int) -> None:
    """Runs rows to their ends, ``n_rows`` at a time; a waiting row takes the place of one that has ended.

    What takes over ten seconds shows how many have ended and the time left.

    A row's scores do not depend on the rows beside it, but for the rounding of matrix products. Numbers of rows and of
    places are filled up to multiples within which the products of this project's CPU builds of torch round alike, so
    that there the result is the same bit by bit; elsewhere scores may differ in their last bits.

    Arguments:
        model: In evaluation mode.
        rows: Rows that share a prefix stand together: it is encoded once.
        advance: Decides, after each step, each row's ``next_id`` or its end; given the rows and their scores.
        n_rows: Rows in flight, at most.
    Raises:
        ValueError: ``n_rows`` is not positive.
    """
    if n_rows < 1:
        raise ValueError(f"expected one row in flight at least, got {n_rows}")
    waiting, active, last = deque(rows), [], None
    bar = tqdm(total=len(rows), desc="sequences", delay=10, mininterval=10)
    with _plain_attention(model.llama), bar:
        decoder = Decoder(model, min(n_rows, len(rows)))
        while waiting or active:
            while waiting and len(active) < n_rows:
                row = waiting.popleft()
                if last is None or last[0] != row.prefix:
                    last = (row.prefix, decoder.encode(row.prefix))
                decoder.admit(last[1])
                active.append(row)
            advance(active, decoder.step([row.next_id for row in active]))
            bar.update(_drop_finished(decoder, active))


def _drop_finished(decoder: Decoder, active: list[Row]) -> int:
    """From the last row on, so that the row that takes a place has been looked at; how many had ended."""
    n_before = len(active)
    for place in range(len(active) - 1, -1, -1):
        if active[place].done:
            decoder.release(place)
            active[place] = active[-1]
            active.pop()
    return n_before - len(active)
