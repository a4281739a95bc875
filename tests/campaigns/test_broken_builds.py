"""Each campaign finds a build that is broken on purpose, by the check meant for it: so it is known to be able to fail.

`make broken` runs them all, in about ten minutes.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOUND = [
    ("lines_written_blindly", "broken_disk::test_lines[EIO]", "found.missing, found.doubled"),
    ("lines_written_blindly", "broken_disk::test_lines[EROFS]", "found.missing, found.doubled"),
    ("what_waits_is_dropped", "broken_disk::test_lines_below_a_read_only_mount", "found.missing, found.doubled"),
    ("failures_are_acknowledged", "broken_disk::test_mail[EIO]", "arrived == senders.acknowledged"),
    ("read_only_is_not_looked_for", "broken_disk::test_mail_below_a_read_only_mount", "acknowledged while read-only"),
    ("timers_by_the_wall_clock", "clock::test_steps", "brief.recv(1)"),
    ("retries_by_the_wall_clock", "clock::test_steps", "arrived_in_time"),
    ("no_budget_of_descriptors", "crowds::test_64_descriptors_and_200_clients", "accepts no more"),
    (
        "the_end_of_input_is_the_end",
        "crowds::test_64_mebibytes_come_back_after_the_half_close",
        "echoed",
    ),
    ("a_millisecond_for_each_read", "crowds::test_a_thousand_drips", "slowest < 100"),
    ("no_stall_timeout", "crowds::test_a_hundred_that_never_read[chargen]", "are still there"),
    ("echo_reads_faster_than_it_is_read", "crowds::test_a_hundred_that_never_read[echo]", "most < 20 << 20"),
    (
        "a_descriptor_lost_now_and_then",
        "crowds::test_ten_thousand_that_connect_and_close",
        "in vain for every descriptor to be closed",
    ),
    (
        "lines_fail_at_odd_octets",
        "crowds::test_random_octets_at_every_port_of_the_shipped_configuration",
        '"Traceback" not in multid.log',
    ),
    ("no_budget_of_descriptors", "descriptors::test_few_descriptors", "in vain for the limit"),
    ("lines_written_blindly", "disk_full::test_lines", "peers wait"),
    ("what_waits_is_dropped", "disk_full::test_lines", "found.missing, found.doubled"),
    ("contents_written_blindly", "disk_full::test_mail", "set(hop.arrived) == senders.acknowledged"),
    (
        "rows_without_fsync",
        "durable_order::test_a_small_mail_is_synced_in_the_log_of_the_database_before_it_is_accepted",
        "is_synced",
    ),
    (
        "files_without_fsync",
        "durable_order::test_a_large_mail_is_synced_in_its_file_then_its_name_then_its_row",
        "file = next",
    ),
    (
        "names_without_fsync",
        "durable_order::test_a_large_mail_is_synced_in_its_file_then_its_name_then_its_row",
        "named = next",
    ),
    ("no_budget_of_a_turn", "floods::test_datagrams", "nobody was served"),
    ("a_batch_lost_now_and_then", "floods::test_lines", "flooded == flooder.total"),
    ("a_mail_lost_now_and_then", "floods::test_mail", "set(hop.arrived) == senders.acknowledged"),
    ("answers_nobody_asked_for", "hostile_hops::test_hostile_hops", "evil.acknowledged <= arrived(healed)"),
    ("replies_without_bounds", "hostile_hops::test_hostile_hops", "most - before < MEMORY"),
    (
        "contents_kept_in_memory",
        "large_mails::test_fifty_clients_with_a_large_mail_each",
        "multid.peak_rss() - before < GROWTH",
    ),
    ("reads_until_there_is_no_more", "lines_fairness::test_a_flood_starves_nobody[none]", "p99 < PATIENCE"),
    ("a_millisecond_for_each_read", "lines_fairness::test_a_thousand_drips_make_nobody_wait", "p99 < PATIENCE"),
    ("compression_on_the_reactors_thread", "lines_fairness::test_compression_delays_nobody", "p99 < PATIENCE"),
    ("arrivals_are_forgotten", "lines_forward::test_a_next_hop_away_under_load[15-lf]", "found.missing, found.doubled"),
    ("a_next_hop_is_called_once", "lines_forward::test_a_next_hop_away_under_load[9-lf]", "found.reached"),
    ("a_batch_lost_now_and_then", "lines_kill::test_lines_survive_kills", "found.missing, found.doubled"),
    ("torn_records_are_not_ended", "lines_kill::test_lines_survive_kills", "found.missing, found.doubled"),
    ("acknowledged_before_commit", "mail_kill::test_every_mail_that_was_acknowledged_arrives[9]", "not missing"),
    (
        "a_delivery_forgotten_now_and_then",
        "mail_kill::test_every_mail_that_was_acknowledged_arrives[15]",
        "not doubled.total()",
    ),
    (
        "lines_are_lost_where_chunks_begin_with_their_end",
        "parsers::test_a_parser_and_mutated_input[framing]",
        "_lines(given + cut.end()) == lines",
    ),
    ("a_third_mail_is_never_looked_at", "queue_model::test_no_mail_is_lost_whatever_happens", "still there"),
    ("rows_without_fsync", "power_loss::test_mail[good]", "acknowledged <= set(hop.arrived)"),
    ("files_without_fsync", "power_loss::test_mail[good]", "acknowledged <= set(hop.arrived)"),
    ("names_without_fsync", "power_loss::test_mail[good]", "acknowledged <= set(hop.arrived)"),
    ("lines_without_fsync", "power_loss::test_lines", "there == promised[name]"),
    ("log_names_without_fsync", "power_loss::test_lines", "there == promised[name]"),
    ("connections_dropped_on_reload", "reload_storm::test_reloads", "old connections dropped"),
    ("descriptor_lost_on_reload", "reload_storm::test_reloads", "files < 20"),
    ("no_limit_of_commands", "rude_mailers::test_rude_mailers", "clients.percentile(95) < PROMPT"),
    ("no_stall_timeout", "rude_mailers::test_rude_mailers", "still there"),
    ("metrics_at_any_price", "scrapes::test_scrapes", "better(scraped) > 0.3 * better(alone)"),
]
"""The build, the campaign, and what is in the assertion that fails, or in its message."""


def campaigns() -> Iterator[str]:
    """Yield all that there are, by the names above."""
    for path in HERE.glob("test_*.py"):
        source = path.read_text()
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = "".join(map(ast.unparse, node.decorator_list))
                if "mark.campaign" in marks or "\npytestmark = pytest.mark.campaign\n" in source:
                    yield f"{path.stem.removeprefix('test_')}::{node.name}"


@pytest.mark.broken
def test_there_is_a_broken_build_for_each_campaign() -> None:
    assert set(campaigns()) == {campaign.partition("[")[0] for _, campaign, _ in FOUND}


@pytest.mark.broken
@pytest.mark.parametrize(("build", "campaign", "check"), FOUND, ids=[f"{found[1]} {found[0]}" for found in FOUND])
def test_is_found(build: str, campaign: str, check: str) -> None:
    file, _, test = campaign.partition("::")
    options = ["-q", "--campaign=short", "--seed=1", f"--broken={build}"]
    command = [sys.executable, "-m", "pytest", *options, f"{HERE}/test_{file}.py::{test}"]
    result = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=300)
    said = [line for line in result.stdout.splitlines() if line.startswith((">", "E "))]
    assert result.returncode == 1, "the campaign has not found it"
    assert any(check in line for line in said), result.stdout
    print(*said[:2], sep="\n")
