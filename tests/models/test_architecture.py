"""The notation of Zhao et al. (2015), section 4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wwae.models import format_architecture, parse_architecture
from wwae.models.architecture import Convolution, FullyConnected, Pooling

numbers = st.integers(1, 10_000)
map_layers = st.one_of(st.builds(Convolution, numbers, numbers), st.builds(Pooling, numbers))
networks = st.tuples(st.lists(map_layers, max_size=8), st.lists(st.builds(FullyConnected, numbers), max_size=3)).map(
    lambda parts: tuple(parts[0] + parts[1])
)


@given(networks.filter(len))
def test_parsing_undoes_formatting(layers):
    assert parse_architecture(format_architecture(layers)) == layers


@given(networks.filter(len), st.randoms())
def test_spaces_mean_nothing(layers, random):
    text = "".join(character + " " * random.randint(0, 2) for character in format_architecture(layers))
    assert parse_architecture(" " + text) == layers


@given(st.text(alphabet="()0123456789cpf- q", max_size=20))
def test_any_text_is_parsed_or_refused_with_a_caret(text):
    try:
        layers = parse_architecture(text)
    except ValueError as error:
        shown, caret = str(error).splitlines()[1:]
        assert shown == f"  {text}"
        assert 0 <= caret.index("^") - 2 <= len(text)
    else:
        assert format_architecture(layers) == "".join(text.split())


def test_the_papers_networks():
    mnist = parse_architecture("(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc")
    assert mnist[0] == Convolution(64, 5)
    assert mnist[1] == Pooling(2)
    assert mnist[-1] == FullyConnected(10)
    cifar = "(128) 3c- (256) 3c-2p- (256) 3c- (512) 3c-2p- (512) 3c- (512) 3c-2p- (512) 3c- (512) 3c-2p-128fc-10fc"
    assert len(parse_architecture(cifar)) == 14
    assert format_architecture(parse_architecture(cifar)) == cifar.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("16c-2p", 0),
        ("(16)5c-2p-", 10),
        ("(16)5c--2p", 7),
        ("(16)5c - 2q - 10fc", 9),
        ("(16)5c-10fc-2p", 12),
        ("(16)5c-10fc-(16)3c", 12),
        ("(0)5c", 0),
        ("(16)05c", 0),
        ("(16)5c-2P", 7),
        ("(16)5c-2p,10fc", 7),
        ("(16)5c-٢p", 7),
    ],
)
def test_bad_layers_are_pointed_at(text, position):
    with pytest.raises(ValueError, match=f"parse_architecture: expected .* at position {position}") as raised:
        parse_architecture(text)
    assert str(raised.value).splitlines()[-1] == "  " + " " * position + "^"
