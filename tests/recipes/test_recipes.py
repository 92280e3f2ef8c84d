import pytest

from wwae.models import SWWAE, parse_architecture
from wwae.recipes import RECIPES, find_recipe
from wwae.training import ConfigurationError
from wwae.training.configuration import Configuration


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_configuration_that_carries_its_name(name: str) -> None:
    recipe = find_recipe(name)
    configuration = recipe.configuration()
    assert isinstance(configuration, Configuration)
    assert recipe.name == configuration.recipe == name
    assert configuration.run.dir is None and not configuration.resume
    assert "\n" not in recipe.summary + recipe.aim


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_a_round_trip_through_toml(name: str, tmp_path) -> None:
    configuration = find_recipe(name).configuration()
    path = tmp_path / "config.toml"
    path.write_text(configuration.to_toml(), encoding="utf-8")
    assert type(configuration).from_toml(path) == configuration


@pytest.mark.parametrize("name", ["digits", "mnist-swwae", "fashion-mnist-swwae"])
def test_every_swwae_recipe_uses_the_network_of_the_paper_on_its_data(name: str) -> None:
    configuration = find_recipe(name).configuration()
    assert configuration.model.architecture == "(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc"
    assert parse_architecture(configuration.model.architecture)
    assert configuration.data.dataset == name.removesuffix("-swwae")
    assert (configuration.data.labels, configuration.data.image_size) == (100, 32)


def test_the_parameters_are_those_the_recipe_files_state() -> None:
    model = SWWAE(find_recipe("digits").configuration().model.architecture, in_channels=1, image_size=32)
    decoder = sum(parameter.numel() for parameter in model.decoder.parameters())
    assert (sum(parameter.numel() for parameter in model.parameters()) - decoder, decoder) == (85770, 75457)


@pytest.mark.parametrize(
    ("labels", "dropout", "test_error", "baseline"),
    [
        (100, 0.0, "9.17 ± 0.11", "22.98"),
        (100, 0.5, "8.71 ± 0.34", "22.98"),
        (600, 0.5, "3.31 ± 0.40", "7.86"),
        (1000, 0.0, "3.39 ± 0.01", "6.45"),
        (3000, 0.5, "2.10 ± 0.22", "3.35"),
        ("all", 0.0, "0.71", "0.76"),
        ("all", 0.5, "0.71", "0.76"),
    ],
)
def test_mnist_is_put_beside_the_paper_number_for_its_labels_and_dropout(labels, dropout, test_error, baseline) -> None:
    recipe = find_recipe("mnist-swwae")
    configuration = recipe.configuration().updated({"data": {"labels": labels}, "model": {"dropout": dropout}})
    assert str(recipe.paper_result(configuration, "test_error")) == test_error
    assert str(recipe.paper_result(configuration, "baseline_test_error")) == baseline


def test_settings_that_the_paper_did_not_measure_have_no_number() -> None:
    recipe = find_recipe("mnist-swwae")
    assert recipe.paper_result(recipe.configuration().updated({"data": {"labels": 200}}), "test_error") is None
    assert recipe.paper_result(recipe.configuration(), "reconstruction_l2") is None
    digits = find_recipe("digits")
    assert digits.paper_result(digits.configuration(), "test_error") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist_swwae", "unknown recipe 'mnist_swwae', did you mean 'mnist-swwae'?"),
        ("digit", "unknown recipe 'digit', did you mean 'digits'?"),
        ("xyz", "unknown recipe 'xyz', known are " + ", ".join(RECIPES)),
    ],
)
def test_an_unknown_recipe_names_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as info:
        find_recipe(name)
    assert str(info.value) == message
