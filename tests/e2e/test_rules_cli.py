"""check-rules beside promtool, rule_overrides from check-config to the page, config show."""

import json
import os
import re
import shutil
import subprocess

import pytest
from rule_cases import CASES, DIFFERENCES

from cluster import wait_until
from cluster.agent import REPO, default_binary

CLUSTER = {"replicas": 1, "workload": False}
PROMTOOL = shutil.which("promtool")
RULE = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: Many
        expr: db_connections_max{node="primary"} > 1000
        labels: {severity: warning}
      - {alert: HighReplicationLag, expr: db_replication_lag_seconds > 60, for: 5m}
      - {alert: Both, expr: db_connections_max > 1 and db_connections_max < 5}
"""


def run(*command, stdin=None, cwd=None):
    return subprocess.run(
        command, input=stdin, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def check_rules(*args, **more):
    done = run(default_binary(), "check-rules", *args, **more)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


@pytest.fixture
def promtool():
    if not PROMTOOL:
        pytest.skip("promtool is not installed")
    return lambda *args, **more: run(PROMTOOL, *args, **more)


@pytest.fixture
def case_files(tmp_path):
    for name, text in CASES.items():
        (tmp_path / f"{name}.yml").write_bytes(text.encode("utf-8", "surrogateescape"))
    return tmp_path


def verdict(done, name):
    """(verdict, what is printed, texts about rules and groups) for one of the files of a call.

    Texts without places: promtool's are those of the rule's name, or 0:0. Those of templates are
    Go's and have tests of their own.
    """
    pattern = rf"^Checking {name}\.yml\n(.*?)\n(?=Checking|\Z)"
    block = re.search(pattern, done.stdout, re.S | re.M)[1]
    lines = [line for line in done.stderr.splitlines() if line.startswith(f"{name}.yml: ")]
    texts = set()
    for line in lines:
        match = re.match(r"\S+\.yml: (?:\d+:\d+: )*((?:group|Groupname).*)", line)
        if match and "template:" not in line and "annotation " not in line:
            texts.add(match[1].rstrip())
    word = "good" if "SUCCESS" in block else "bad" if lines else "lint"
    return word, block, texts, any(": yaml: " in line for line in lines)


def test_verdicts_are_those_of_promtool(case_files, promtool):
    assert len(CASES) >= 60
    files = [f"{name}.yml" for name in CASES]
    ours = check_rules(*files, cwd=case_files)
    theirs = promtool("check", "rules", *files, cwd=case_files)
    assert ours.returncode == theirs.returncode == 1
    wrong, words = [], []
    for name in CASES:
        mine, wanted = verdict(ours, name), verdict(theirs, name)
        # What its decoder refuses ends promtool's look at the file.
        same = mine[:2] == wanted[:2] and (wanted[3] or wanted[2] <= mine[2])
        if same == (name in DIFFERENCES):
            wrong.append(f"{name}: {wanted} but {mine}")
        words.append(mine[0])
    assert not wrong, "\n".join(wrong)
    assert words.count("good") > 60 and words.count("bad") > 60 and words.count("lint") >= 4
    for name, code in (("ok_alert", 0), ("both", 1), ("dupalert", 0), ("badyaml", 1)):
        file = case_files / f"{name}.yml"
        theirs = promtool("check", "rules", str(file))
        assert check_rules(str(file)).returncode == theirs.returncode == code, name


def test_every_finding_of_every_file_at_once(case_files):
    done = check_rules("many_errs.yml", "ok_alert.yml", "two_type_errs.yml", cwd=case_files)
    assert done.returncode == 1
    assert done.stdout == (
        "Checking many_errs.yml\n\nChecking ok_alert.yml\n  SUCCESS: 1 rules found\n\n"
        "Checking two_type_errs.yml\n\n"
    )
    for text in (
        "many_errs.yml: 4:14: group \"g\", rule 1, \"a-b\": invalid recording rule name: a-b",
        "many_errs.yml: 4:25: group \"g\", rule 1, \"a-b\": could not parse expression: 1:5: parse",
        "rule 1, \"a-b\": invalid field 'for' in recording rule",
        "many_errs.yml: 4:40: unknown key 'foo', did you mean 'for'?",
        "many_errs.yml: 5:35: group \"g\", rule 2, \"x\": invalid label name: a-b",
        "invalid annotation name: c-d",
        "many_errs.yml: 6:5: group \"g\", rule 3, \"\": one of 'record' or 'alert' must be set",
        "'labels' must be a mapping, not a list",
        "'for': not a valid duration string: \"soon\"",
        "unknown key 'zoo'",
    ):
        assert text in done.stderr, done.stderr
    assert done.stderr.count("  FAILED:") == 2


def test_lint_exit_codes_and_standard_input(case_files, promtool):
    for options, code in (
        ((), 0),
        (("--lint-fatal",), 3),
        (("--lint=all", "--lint-fatal"), 3),
        (("--lint", "duplicate-rules"), 0),
        (("--lint=none", "--lint-fatal"), 0),
        (("--lint=none,all", "--lint-fatal"), 3),
        (("--lint=foo", "--lint-fatal"), 0),
    ):
        for names in (["dupalert.yml"], ["duprule_lab.yml", "dupalert.yml"]):
            ours = check_rules(*options, *names, cwd=case_files)
            theirs = promtool("check", "rules", *options, *names, cwd=case_files)
            assert ours.returncode == theirs.returncode == code, (options, theirs.stderr)
            assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    both = check_rules("--lint-fatal", "dupalert.yml", "both.yml", cwd=case_files)
    assert both.returncode == 1, "an error weighs more than a finding of the lint"
    assert check_rules("/nowhere.yml").returncode == 1
    assert check_rules("--lnt=all").returncode == 2

    piped = check_rules(stdin=CASES["ok_alert"])
    assert (piped.returncode, piped.stdout) == (
        0, "Checking standard input\n  SUCCESS: 1 rules found\n\n"
    )  # fmt: skip
    piped = check_rules("/dev/stdin", stdin=CASES["ok_alert"])
    assert (piped.returncode, piped.stdout.splitlines()[0]) == (0, "Checking /dev/stdin")
    large = check_rules(stdin="#" * (4 * 1024 * 1024 + 1))
    assert large.returncode == 1 and "larger than 4 MiB" in large.stderr
    huge = check_rules(stdin="#" * (16 * 1024 * 1024))
    assert huge.returncode == 1 and "larger than 4194304 bytes" in huge.stderr
    assert check_rules("/").returncode == 1
    piped = check_rules(stdin=CASES["badexpr"])
    assert piped.returncode == 1 and "standard input: 5:11: group" in piped.stderr


def test_many_files(tmp_path):
    names = [f"{i}.yml" for i in range(1025)]
    for name in names:
        (tmp_path / name).write_text("groups: []\n")
    done = check_rules(*names[:1024], cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("SUCCESS") == 1024
    done = check_rules(*names, cwd=tmp_path)
    assert done.returncode == 2 and "more than 1024" in done.stderr


def test_commands_of_two_words():
    binary = default_binary()
    for words, text in (
        (["config"], "unknown command 'config', did you mean 'config show'?"),
        (["config", "shwo"], "unknown command 'config shwo', did you mean 'config show'?"),
        (["rules"], "unknown command 'rules', did you mean 'rules replay'?"),
        (["check-ruls"], "unknown command 'check-ruls', did you mean 'check-rules'?"),
        (["test-rules"], "usage: pgvigil test-rules FILE..."),
        (["config", "show", "x"], "usage: pgvigil config show"),
    ):
        done = run(binary, *words)
        assert done.returncode == 2 and text in done.stderr, done.stderr
    done = run(binary, "config", "show", "--help")
    assert done.returncode == 0 and "usage: pgvigil config show" in done.stdout


# ---- rule_overrides ----


def with_overrides(agent, overrides):
    agent.config["rule_overrides"] = overrides
    agent.write_config()


def place(agent, text):
    with open(agent.config_path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if text in line:
                return f"{agent.config_path}:{number}:{line.index(text) + 1}"
    raise AssertionError(text)


def test_overrides_are_checked(make_agent):
    agent = make_agent(rules=[RULE])
    overrides = {
        "HighReplicatonLag": {"threshold": "30s"},
        "Both": {"threshold": "7"},
        "Qwertz": {"disabled": True},
    }
    with_overrides(agent, overrides)
    wanted = (
        f"{place(agent, 'HighReplicatonLag')}: 'rule_overrides': no alert is named "
        "'HighReplicatonLag', did you mean 'HighReplicationLag'?\n",
        f"{place(agent, 'Qwertz')}: 'rule_overrides': no alert is named 'Qwertz'\n",
        "has 2 comparisons with a number, so it is not clear which one is meant",
    )
    for command in (("check-config",), ("run",), ("config", "show")):
        done = agent.cli(*command, check=False)
        assert done.returncode == 3 and done.stdout == "", done.stdout
        for text in wanted:
            assert text in done.stderr, done.stderr
    with_overrides(agent, {"Many": {"treshold": 5, "for": "5", "severity": ""}, "Both": 3})
    done = agent.cli("check-config", check=False)
    assert done.returncode == 3
    for text in (
        "unknown key 'treshold', did you mean 'threshold'?",
        "'for': expected a duration with a unit",
        "'severity': expected a text, like critical",
        "'Both': expected a map, like {threshold: 30s, for: 10m}",
    ):
        assert text in done.stderr, done.stderr


def test_a_reload_brings_overrides(cluster, make_agent, receiver):
    agent = make_agent(rules=[RULE], webhook=receiver.url).start()
    agent.wait_files("replica_1.read")
    assert agent.alerts() == []

    with_overrides(agent, {"Many": {"threshold": 10, "severity": "critical"}})
    agent.reload()
    fired = receiver.wait_alert("Many", node="primary")
    assert fired["status"] == "firing" and fired["labels"]["severity"] == "critical"
    rules = agent.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert rules[0]["query"].endswith("> 10"), rules[0]

    with_overrides(agent, {"Nobody": {"disabled": True}})
    agent.reload()
    wait_until(lambda: "reload failed" in agent.stderr(), 10, "the bad reload is told")
    assert "no alert is named 'Nobody'" in agent.stderr()
    assert [a["labels"]["alertname"] for a in agent.alerts()] == ["Many"], "the old rules run on"

    with_overrides(agent, {"Many": {"disabled": True}})
    agent.reload()
    ended = receiver.wait_alert("Many", status="resolved", node="primary")
    assert ended["fingerprint"] == fired["fingerprint"]
    wait_until(
        lambda: re.search(r"alertname=Many .*to=resolved .*reason=removed", agent.stderr()),
        10,
        "the alert ends because its rule is gone",
    )


# ---- config show ----


def documents(text):
    config, rules = text.split("\n---\n")
    return config + "\n", rules


def without_comments(text):
    return [re.sub(r" *# .*", "", line) for line in text.splitlines()]


def test_config_show_can_be_read_again(make_agent, promtool, tmp_path):
    agent = make_agent(webhook="http://127.0.0.1:9/very/secret?token=x")
    agent.config["nodes"][0]["dsn"] += " password='very secret'"
    agent.config["external_labels"] = {"dc": "on", "odd": 'a"b\\c: #'}
    agent.config["cluster"] = "${env:SHOWN_CLUSTER:-east}"
    overrides = {
        "HighReplicationLag": {"threshold": "30s", "for": "10m", "severity": "info"},
        "ReplicaDown": {"disabled": True},
    }
    with_overrides(agent, overrides)
    shown = agent.cli("config", "show").stdout
    assert "secret" not in shown.replace("secret_modes", "").replace("secrets are", "")
    config, rules = documents(shown)
    line = place(agent, "HighReplicationLag").rsplit(":", 1)[0]
    for text in (
        f"cluster: east # {agent.config_path}:1, environment SHOWN_CLUSTER\n",
        "  max_lag: 1m # default\n",
        f"    threshold: 30s # {line}\n",
        'webhook: "http://127.0.0.1:9/***"',
    ):
        assert text in config, config

    agent.write_config(config)
    agent.cli("check-config")
    again_config, again_rules = documents(agent.cli("config", "show").stdout)
    assert without_comments(again_config) == without_comments(config)
    assert without_comments(again_rules) == without_comments(rules)

    path = tmp_path / "rules.yml"
    path.write_text(rules)
    for tool in (promtool("check", "rules", str(path)), check_rules(str(path))):
        assert tool.returncode == 0 and "SUCCESS" in tool.stdout, tool.stderr
    assert "- alert: ReplicaDown\n" not in rules
    assert "# ReplicaDown is disabled by rule_overrides" in rules
    assert "# rule_overrides: threshold 30s (was 60), for 10m (was 5m), severity info" in rules
    assert re.search(r"# \S+/database\.yml:\d+\n      - alert: SlowQueries\n", rules)


def test_config_show_of_odd_rules(make_agent, promtool, case_files):
    done = check_rules("--lint=none", *(f"{name}.yml" for name in CASES), cwd=case_files)
    good = [n for n in CASES if verdict(done, n)[0] == "good" and n not in DIFFERENCES]
    texts = [CASES[name] for name in good if "\n" in CASES[name] and "\r" not in CASES[name]]
    agent = make_agent(rules=texts)
    _config, rules = documents(agent.cli("config", "show").stdout)
    (case_files / "all.yml").write_text(rules)
    done = promtool("check", "rules", "--lint=none", str(case_files / "all.yml"))
    ours = check_rules("--lint=none", str(case_files / "all.yml"))
    assert done.returncode == 0 and done.stdout == ours.stdout, done.stderr
    as_json = json.loads(agent.cli("config", "show", "-o", "json").stdout)
    count = sum(len(group["rules"]) for group in as_json["groups"])
    assert f"SUCCESS: {count} rules found" in ours.stdout and count > 50


def test_config_show_as_json(make_agent):
    agent = make_agent()
    with_overrides(agent, {"SlowQueries": {"threshold": 99, "keep_firing_for": "0s"}})
    found = json.loads(agent.cli("config", "show", "-o", "json").stdout)
    assert found["config"]["gate"]["max_lag"] == "1m"
    assert found["origins"]["gate"]["max_lag"] == "default"
    assert found["config"]["gate"]["panic_guard"]["primary_weight"] == "30%"
    assert found["config"]["gate"]["dry_run"] is False and found["config"]["gate"]["fall"] == 2
    assert found["config"]["rule_overrides"]["SlowQueries"]["threshold"] == 99
    node = found["config"]["nodes"][0]
    assert node["name"] == "primary" and node["dsn"].startswith("host=")
    assert found["origins"]["nodes"][0]["name"].startswith(agent.config_path + ":")
    rules = [rule for group in found["groups"] for rule in group["rules"]]
    slow = next(rule for rule in rules if rule.get("alert") == "SlowQueries")
    assert slow["expr"].endswith("> 99") and "keep_firing_for" not in slow
    assert slow["overridden"].startswith("threshold 99 (was 10)")
    assert re.match(r"\S+/database\.yml:\d+$", slow["origin"])
    assert agent.cli("config", "show", "-o", "toml", check=False).returncode == 2


def test_shipped_rules_are_the_same_for_both(promtool):
    folder = os.path.join(REPO, "rules")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".yml"))
    ours = check_rules(*names, cwd=folder)
    theirs = promtool("check", "rules", *names, cwd=folder)
    assert ours.returncode == theirs.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout
