"""The plan of a reload."""

from hypothesis import given
from hypothesis import strategies as st

from multid.reload import Plan, plan_reload
from multid.services.discard import DiscardConfig
from multid.services.echo import EchoConfig

configs = st.builds(
    lambda kind, port, enabled: (DiscardConfig if kind == "discard" else EchoConfig)(
        type=kind, listen=f"tcp:{port}", enabled=enabled
    ),
    st.sampled_from(["echo", "discard"]),
    st.integers(1, 2),
    st.booleans(),
)
files = st.dictionaries(st.sampled_from("abcd"), configs)


def test_each_kind_of_change_by_name() -> None:
    echo, other_port = EchoConfig(type="echo", listen="tcp:7"), EchoConfig(type="echo", listen="tcp:8")
    discard = DiscardConfig(type="discard", listen="tcp:7")
    off = EchoConfig(type="echo", listen="tcp:7", enabled=False)
    old = {"same": echo, "tuned": echo, "other": echo, "gone": echo, "switched": echo}
    new = {"same": echo, "tuned": other_port, "other": discard, "new": echo, "switched": off}
    assert plan_reload(old, new) == Plan(
        keep=("same",), retune=("tuned",), start=("other", "new"), stop=("other", "gone", "switched")
    )


@given(files, files)
def test_what_runs_after_a_plan_is_what_the_new_file_enables(old, new) -> None:
    plan = plan_reload(old, new)
    running = {name: config for name, config in old.items() if config.enabled}
    for name in plan.stop:
        del running[name]
    for name in [*plan.start, *plan.retune]:
        running[name] = new[name]
    assert running == {name: config for name, config in new.items() if config.enabled}
    assert plan_reload(new, new).is_empty
