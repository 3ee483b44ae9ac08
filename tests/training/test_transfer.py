"""Transfer: what of a model the networks of another recipe begin with.

Of the kind: whatever other domains, tasks, attributes and conditionings a recipe has, and in whatever order, networks
compute for those that there were what they computed before.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Domain, Generator, NetworkSpec, Options, Register, Translation, hookimpl
from transgan.errors import UsageError
from transgan.inference.model_folder import model_config
from transgan.plan import Plan, build_networks, make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.storage import load
from transgan.training.transfer import InitialWeights, match_networks, match_weights

DATA = """
[data]
source = { use = "synthetic_faces", count = 16 }
size = 16
[train]
steps = 2
"""
#: A generator and a discriminator whose weights have entries for domains, tasks and attributes.
NETWORKS = """
[conditionings]
domain = { use = "embedding", of = "domain", width = 3 }
task = { use = "channel", of = "task" }
plane = { use = "channel", of = "domain" }
mood = { use = "embedding", of = "mood", width = 2 }
[generators.resnet]
width = 4
blocks = 1
norm_first = false
[discriminators.patch]
per = "run"
conditionings = ["domain", "mood"]
width = 4
layers = 2
norm = "none"
classes = true
spectral = true
[losses]
lsgan = 1.0
domain_classification = 1.0
"""
OLD = (
    DATA
    + """
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
white = { race = "White" }
black = { race = "Black" }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[attributes]
mood = { values = ["calm", "glad"] }
"""
    + NETWORKS
)
NEW = (
    DATA
    + """
[domains]
black = { race = "Black" }
old = { age = [50, 60] }
asian = { race = "Asian" }
young = { age = [20, 30] }
white = { race = "White" }
[tasks]
age = { between = ["old", "young"] }
both = { between = ["asian", "old"] }
race = { between = ["black", "asian", "white"] }
[attributes]
age = { from = 0, to = 100 }
mood = { values = ["sad", "glad", "calm"] }
"""
    + NETWORKS.replace("[conditionings]", '[conditionings]\nage = { use = "channel", of = "age" }')
)


class Heads(Generator):
    """A generator with a convolution for each domain."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.heads = nn.ModuleList(nn.ModuleList([nn.Conv2d(spec.inputs, spec.channels, 1)]) for _ in spec.domains)
        self.maps = nn.Parameter(torch.randn(len(spec.domains) ** 2, 2))
        self.shared = nn.Parameter(torch.randn(2 * len(spec.domains)))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        return torch.stack([self.heads[int(i)][0](row) for i, row in zip(domain, x, strict=True)])


class Odd(Generator):
    """A generator whose size depends on the number of domains, in a way that does not tell which is whose."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.inner = nn.Parameter(torch.zeros(3 + len(spec.domains)))
        self.conv = nn.Conv2d(spec.inputs, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class Fitted(Heads):
    """Its maps are fitted to the data."""

    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        with torch.no_grad():
            self.maps.fill_(len(domains))


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("heads", Heads)
        register("odd", Odd)
        register("fitted", Fitted)


@pytest.fixture(scope="module")
def begun() -> Callable[..., tuple[Plan, Any, Plan, Any, InitialWeights]]:
    """`begun(old, new)`: plan and networks of both recipes, in float64; the second begins with the first's weights."""
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")

    @cache
    def begin(old: str, new: str) -> tuple[Plan, Any, Plan, Any, InitialWeights]:
        texts = {"train.seed=1": old, "train.seed=2": new}
        plans = [make_plan(parse_recipe(text, "recipe", (seed,)), registry) for seed, text in texts.items()]
        networks = [{name: each.double().eval() for name, each in build_networks(plan).items()} for plan in plans]
        weights = {name: each.state_dict() for name, each in networks[0].items()}
        start = match_weights(plans[1], "old", weights, model_config(plans[0], 0))
        start.load_into(networks[1])
        return plans[0], networks[0], plans[1], networks[1], start

    return begin


def conditions(plan: Plan, domain: str, task: str, mood: str) -> dict[str, Tensor]:
    values = plan.recipe.attributes["mood"].values
    assert values is not None
    return {
        "domain": torch.tensor([plan.domains.index(domain)]),
        "task": torch.tensor([list(plan.recipe.tasks).index(task)]),
        "mood": torch.tensor([[float(mood == each) for each in values]], dtype=torch.float64),
        "age": torch.zeros(1, 1, dtype=torch.float64),
    }


@pytest.mark.parametrize("domain", ["young", "old", "white", "black"])
def test_networks_compute_for_old_domains_tasks_and_values_what_they_did(begun: Any, domain: str) -> None:
    """Kind: rows of embeddings and class heads, planes, style entries, in another order and with new ones between."""
    plan, before, new_plan, after, _ = begun(OLD, NEW)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for task, mood in product(("age", "race"), ("calm", "glad")):
        theirs, ours = (conditions(each, domain, task, mood) for each in (plan, new_plan))
        torch.testing.assert_close(after["resnet"](x, **ours), before["resnet"](x, **theirs), rtol=0, atol=1e-12)
        was, now = before["patch"](x, **theirs), after["patch"](x, **ours)
        torch.testing.assert_close(now.logits, was.logits, rtol=0, atol=1e-12)
        logits = now.class_logits[:, [new_plan.domains.index(each) for each in plan.domains]]
        # The biases are still 0, and the spectral norm of the class head depends on its new row too.
        torch.testing.assert_close(logits / logits.norm(), was.class_logits / was.class_logits.norm())


def test_new_rows_are_those_of_new_networks(begun: Any, planned: Any) -> None:
    _, _, plan, after, start = begun(OLD, NEW)
    fresh = build_networks(plan)
    row = plan.domains.index("asian")
    key = "conditionings.1.table.weight"  # the first, of age, is new
    assert torch.equal(after["resnet"].state_dict()[key][row], fresh["resnet"].state_dict()[key][row].double())
    assert not torch.equal(after["resnet"].state_dict()[key][0], fresh["resnet"].state_dict()[key][0].double())
    classifier = "network.classifier.parametrizations.weight.original"
    assert torch.equal(
        after["patch"].state_dict()[classifier][row], fresh["patch"].state_dict()[classifier][row].double()
    )
    assert start.whole == []


def test_the_report_says_what_is_taken(begun: Any) -> None:
    _, _, _, after, start = begun(OLD, NEW)
    header, generator, discriminator = start.report()
    counts = {name: sum(p.numel() for p in each.parameters()) for name, each in after.items()}
    # By hand: of the first 7x7 convolution the planes of age, both, asian; of both embeddings the row of a domain and
    # the column of a value; of the class head a row and its bias.
    new = {"resnet": 4 * 49 * 3 + 3 + 2, "patch": 3 + 2 + (16 + 1)}
    assert generator == (
        f"  resnet: {counts['resnet'] - new['resnet']:,} of {counts['resnet']:,} parameters; "
        "new: conditioning age, attribute age, task both, domain asian, attribute mood sad"
    )
    assert discriminator == (
        f"  patch: {counts['patch'] - new['patch']:,} of {counts['patch']:,} parameters; "
        "new: domain asian, attribute mood sad"
    )
    total = sum(counts.values())
    assert header == f"weights from old: {total - sum(new.values()):,} of {total:,} parameters"


def test_a_list_of_modules_and_rows_of_pairs_follow_the_names(begun: Any) -> None:
    old, new = (
        text.partition("[conditionings]")[0] + '[generators]\ng = "heads"\n[losses]\nidentity = 1.0\n'
        for text in (OLD, NEW)
    )
    plan, before, new_plan, after, start = begun(old, new)
    (line,) = list(start.report())[1:]
    assert line.endswith("; new: domain asian") and start.whole == []
    n, m = len(plan.domains), len(new_plan.domains)
    for a in plan.domains:
        i, j = plan.domains.index(a), new_plan.domains.index(a)
        assert torch.equal(before["g"].network.heads[i][0].weight, after["g"].network.heads[j][0].weight)
        rows, others = before["g"].network.shared, after["g"].network.shared
        assert torch.equal(rows[2 * i : 2 * i + 2], others[2 * j : 2 * j + 2])
        for b in plan.domains:
            k, o = i * n + plan.domains.index(b), j * m + new_plan.domains.index(b)
            assert torch.equal(before["g"].network.maps[k], after["g"].network.maps[o])


def test_a_removed_domain_is_named(begun: Any) -> None:
    *_, start = begun(NEW.replace('age = { use = "channel", of = "age" }', ""), OLD)
    lines = list(start.report())
    assert lines[1].endswith("; unused: task both, domain asian, attribute mood sad")
    assert start.whole == ["resnet", "patch"]


def test_domains_of_other_names_begin_anew_and_the_rest_is_taken(begun: Any) -> None:
    new = OLD.replace("young", "kids").replace("old", "aged").replace("white", "pale").replace("black", "dark")
    _, before, _, after, start = begun(OLD, new)
    lines = list(start.report())
    names = ", ".join(f"domain {name}" for name in ("kids", "aged", "pale", "dark"))
    assert lines[2].partition("; ")[2] == (
        f"new: {names}; unused: domain young, domain old, domain white, domain black"
    )
    for key in ("network.scales.0.last.bias", "conditionings.1.linear.weight"):
        assert torch.equal(before["patch"].state_dict()[key], after["patch"].state_dict()[key])


def test_rows_whose_domain_is_not_known_are_an_error(begun: Any) -> None:
    old, new = (
        text.partition("[conditionings]")[0] + '[generators]\ng = "odd"\n[losses]\nidentity = 1.0\n'
        for text in (OLD, NEW)
    )
    with pytest.raises(UsageError, match="which of its rows belong to which domain or task is not known"):
        begun(old, new)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("G g, D d", "G g, D d", {"g": "g", "d": "d"}),
        ("G face, D other", "G g, D d", {"face": "g", "other": "d"}),
        ("G a, G b", "G b, G c", {"b": "b", "a": "c"}),
        ("G a, G b", "G c", {}),
        ("G a, G b", "G c, G d", {"a": "c", "b": "d"}),
        ("G g.forward, G g.backward", "G g", {"g.forward": "g", "g.backward": "g"}),
        ("G g", "G g.forward", {"g": "g.forward"}),
        ("G g", "G g.forward, G g.backward", {}),
        ("D d.horse, D d.okapi", "D d.horse, D d.zebra", {"d.horse": "d.horse", "d.okapi": "d.zebra"}),
        ("D d.a, D d.b, D d.c", "D d.a, D d.b", {"d.a": "d.a", "d.b": "d.b"}),
        ("G g.a-b, G g.b-a", "G f.c-d, G f.d-c", {"g.a-b": "f.c-d", "g.b-a": "f.d-c"}),
        ("G g, E e", "E e2, G g2", {"g": "g2", "e": "e2"}),
        ("E e", "G g", {}),
        ("L nce/mlp", "L nce/mlp", {"nce/mlp": "nce/mlp"}),
    ],
)
def test_networks_are_matched_by_name_then_by_role(here: str, there: str, expected: dict[str, str]) -> None:
    def read(text: str) -> dict[str, str]:
        return {name: kind for kind, name in (each.split() for each in text.split(", "))}

    assert match_networks(read(here), read(there)) == expected


def test_by_role_what_does_not_fit_begins_anew(begun: Any) -> None:
    new = OLD.replace("[generators.resnet]\nwidth = 4", '[generators.g]\nuse = "resnet"\nwidth = 8')
    new = new.replace("[discriminators.patch]", '[discriminators.d]\nuse = "patch"')
    _, before, _, after, start = begun(OLD, new)
    lines = list(start.report())
    assert "g: begins anew" in lines[1] and "'resnet' does not fit: 'network.model." in lines[1]
    assert lines[2].startswith("  d: all ") and lines[2].endswith(" of 'patch'")
    assert lines[3] == "  unused of it: resnet"
    assert torch.equal(before["patch"].network.scales[0].last.bias, after["d"].network.scales[0].last.bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("width = 4\nblocks", "width = 8\nblocks"), "; give [generators.resnet] width = 4, as there, or rename the"),
        (("layers = 2", "layers = 1"), "give [discriminators.patch] layers = 2, as there, or rename the slot to"),
        (("width = 3", "width = 5"), "is of shape (4, 3) there, and of shape (4, 5) in this recipe with the domains "
         "there; give [conditionings.domain] width = 3, as there, or rename the slot to begin anew"),
        (("[generators.resnet]", '[generators.resnet]\nuse = "unet"'), "; there [generators.resnet] is 'resnet'; use "),
    ],
)  # fmt: skip
def test_other_shapes_under_the_same_name_are_one_error(begun: Any, change: tuple[str, str], message: str) -> None:
    new = NEW.replace(*change)
    if "unet" in new:
        new = new.replace("blocks = 1\nnorm_first = false\n", "")
    with pytest.raises(UsageError) as caught:
        begun(OLD, new)
    assert str(caught.value).startswith("train.init_from = 'old': the weights of ") and message in str(caught.value)


PLANE = 'plane = { use = "channel", of = "domain" }'
WHAT = "the weights of '{0}' do not fit: there [conditionings.{1}] conditions it on '{2}', and here nothing does"


@pytest.mark.parametrize(
    ("change", "network", "dropped", "remedy"),
    [
        ((PLANE, ""), "resnet",
         ("plane", "domain"), 'add [conditionings] plane = { use = "channel", of = "domain", numbers = 1 },'),
        (("blocks = 1", 'blocks = 1\nconditionings = ["age", "domain", "task", "mood"]'), "resnet",
         ("plane", "domain"), "add 'plane' to conditionings in [generators.resnet],"),
        ((PLANE, PLANE.replace('"domain"', '"age"')), "resnet", ("plane", "domain"),
         'set of = "domain" in [conditionings.plane],'),
    ],
)  # fmt: skip
def test_a_conditioning_that_was_dropped_is_named(
    begun: Any, change: tuple[str, str], network: str, dropped: tuple[str, str], remedy: str
) -> None:
    """Of the kind: dropped from the table, from the network's list, or now of another condition."""
    with pytest.raises(UsageError) as caught:
        begun(OLD, NEW.replace(*change))
    rest = f"as there, or rename [generators.{network}] to begin anew"
    assert str(caught.value) == f"train.init_from = 'old': {WHAT.format(network, *dropped)}; {remedy} {rest}"


def test_an_attribute_that_was_dropped_with_its_conditioning_is_named(begun: Any) -> None:
    new = OLD.replace('mood = { use = "embedding", of = "mood", width = 2 }', "").replace(', "mood"', "")
    new = new.replace('[attributes]\nmood = { values = ["calm", "glad"] }', "")
    with pytest.raises(UsageError) as caught:
        begun(OLD, new)
    mood = 'mood = { use = "embedding", of = "mood", width = 2, numbers = 1 }'
    assert f"; add [conditionings] {mood} and [attributes] mood, as there, or rename" in str(caught.value)


def test_nothing_matched_is_an_error(planned: Any) -> None:
    plan = planned(OLD)
    with pytest.raises(UsageError, match=r"it has networks x; expected one of this recipe's, patch, resnet, or one of"):
        match_weights(plan, "old", {"x": {"a": torch.zeros(1)}}, None)


@pytest.mark.parametrize("config", [None, {}, {"recipe": 3}, {"recipe": {"domains": 3, "attributes": {"a": 1}}}])
def test_a_config_that_says_nothing_is_taken_to_be_as_here(planned: Any, config: Any) -> None:
    plan = planned(OLD)
    weights = {name: each.state_dict() for name, each in build_networks(plan).items()}
    if config and config["recipe"] != 3:
        with pytest.raises(UsageError, match="do not fit"):  # a recipe without conditionings
            match_weights(plan, "old", weights, config)
    else:
        assert match_weights(plan, "old", weights, config).whole == ["resnet", "patch"]


def test_what_is_fitted_to_data_is_fitted_anew_where_a_domain_is_new(
    recipe_file: Any, trained: Any, tmp_path: Path
) -> None:
    old = (DATA + OLD.partition(DATA)[2].partition("[conditionings]")[0]).replace("[attributes]", "").replace(
        'mood = { values = ["calm", "glad"] }', ""
    ) + '[generators]\ng = "fitted"\n[losses]\nidentity = 1.0\n[optimizers]\ngenerator.lr = 0.0\n'  # fmt: skip
    new = old.replace("[tasks]", 'asian = { race = "Asian" }\n[tasks]').replace(
        "count = 16", 'count = 16, races = ["White", "Black", "Asian"]'
    )
    before = trained(recipe_file(old), tmp_path / "old", plugin=Plugin()).groups["networks"]
    start = f"train.init_from='{tmp_path / 'old'}'"
    same = trained(recipe_file(old), tmp_path / "same", start, "train.seed=3", plugin=Plugin()).groups["networks"]
    after = trained(recipe_file(new), tmp_path / "new", start, "train.seed=3", plugin=Plugin()).groups["networks"]
    assert torch.equal(before["g|network.maps"], torch.full((16, 2), 4.0))
    assert all(torch.equal(value, same[key]) for key, value in before.items())
    assert torch.equal(after["g|network.maps"], torch.full((25, 2), 5.0))
    assert torch.equal(after["g|network.shared"][:8], before["g|network.shared"])


def test_check_and_the_log_of_a_run_have_the_report(
    recipe_file: Any, run_cli: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OLD.replace("[attributes]", "").replace('mood = { values = ["calm", "glad"] }', "")
    text = text.replace('mood = { use = "embedding", of = "mood", width = 2 }', "").replace(', "mood"', "")
    few = ("--set", "evaluate.samples=2", "--set", "train.batch=2", "--set", "train.checkpoint_every=2")
    path = recipe_file(text)
    assert run_cli("run", path, "--out", tmp_path / "old", "-q", *few) == 0
    changes = (
        "--set", f"train.init_from='{tmp_path / 'old/checkpoints/step-00000002'}'",
        "--set", "domains.male={age=[20,60]}", "--set", "tasks.age.between=['young','old','male']",
        "--set", "train.freeze=['resnet', 'patch|scales*']",
    )  # fmt: skip
    capsys.readouterr()
    assert run_cli("check", path, *few, *changes) == 0
    printed = capsys.readouterr().out
    assert "  resnet: resnet, " in printed and "frozen" in printed and "of them trained in the discriminator" in printed
    report = [line for line in printed.splitlines() if "new: domain male" in line]
    assert len(report) == 2
    assert run_cli("run", path, "--out", tmp_path / "new", "-q", *few, *changes) == 0
    log = (tmp_path / "new/log.txt").read_text()
    assert all(line in log for line in report) and "weights from" in log
    old, new = (load(tmp_path / name / "checkpoints/step-00000002").groups["networks"] for name in ("old", "new"))
    key = "resnet|conditionings.0.table.weight"
    assert torch.equal(new[key][:4], old[key]) and len(new[key]) == 5
