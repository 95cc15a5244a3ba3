"""
Files, variables and command lines become one plan, or every problem is said.
"""

import shlex
import textwrap
from time import process_time

import pytest

from mixweb._toml_lines import key_lines
from mixweb.commandline import Parser, UsageProblem
from mixweb.config import given, load, serving_here
from mixweb.draft import ConfigError
from mixweb.dump import to_tac, to_toml
from mixweb.feature import settings_fields
from mixweb.plan import Host, Plan
from tests.samples import SAMPLES, Echo, Files, Goto, Log, Tag


def plan_of(line="", toml=None, path=None, environment=None):
    """The plan of a command line and a document."""
    file = None
    if toml is not None:
        file = path / "site.toml"
        file.write_text(textwrap.dedent(toml))
    return load(file, Parser(SAMPLES).parse(line.split()).draft, environment or {}, SAMPLES).plan


def problems_of(path, toml, line=""):
    """What is wrong with a document, without the folder."""
    with pytest.raises(ConfigError) as caught:
        plan_of(line, toml, path)
    return [str(problem).replace(f"{path}/", "") for problem in caught.value.problems]


LINES = [
    ("--files a", [Files("a")], {}),
    ("--path a", [Files("a")], {}),
    ("--files a --at /x --echo --echo-size 7", [Files("a", at="/x"), Echo(size=7)], {}),
    ("--echo-size 7 --echo", [Echo(size=7)], {}),
    ("--index i --path a", [Files("a", index=["i"])], {}),
    ("--path a --index i -i j", [Files("a", index=["i", "j"])], {}),
    ("--index i --path a --path b --at /b", [Files("a", index=["i"]), Files("b", at="/b")], {}),
    (
        "--files a --at /a --files b --at /b --files-index x",
        [Files("a", at="/a"), Files("b", at="/b", index=["x"])],
        {},
    ),
    ("--processor .x=m.C --path a --processor .y=m.D", [Files("a", processors={".x": "m.C", ".y": "m.D"})], {}),
    ("--files a --no-files-listing", [Files("a", listing=False)], {}),
    ("--files=a --files-listing", [Files("a")], {}),
    ("--host a --log l --without log --host default", [Log("l")], {}),
    ("--tag x --paths /a --paths *.b --except-paths /c", [Tag("x", paths=["/a", "*.b"], except_paths=["/c"])], {}),
    ("--allow-ignore-ext --path a -m text/x", [Files("a", ignore_ext=["*"], default_type="text/x")], {}),
    ("-n --notracebacks --log l", [Log("l")], {}),
    (
        "--port 80 --listen tcp:1 --listen tcp:2 --public",
        [],
        {"port": "80", "listen": ("tcp:1", "tcp:2"), "public": True},
    ),
    ("-p8080", [], {"port": "8080"}),
    ("-p tcp:8080 --drain 5", [], {"port": "tcp:8080", "drain": 5}),
]


def same(found, wanted, folder):
    """Whether settings are equal, lists and tuples alike, relative paths counted from a folder."""
    assert type(found) is type(wanted)
    for item in settings_fields(found):
        left, right = getattr(found, item.name), getattr(wanted, item.name)
        if item.name == "path":
            right = str(folder / right) if right else ""
        assert left == (tuple(right) if isinstance(right, list) else right), item.name


@pytest.mark.parametrize(("line", "settings", "server"), LINES)
def test_command_line(line, settings, server, tmp_path, monkeypatch):
    """A line is read left to right; options of a feature may stand before it; those of twistd web in any order."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of(line)
    assert len(plan.default.settings) == len(settings)
    for found, wanted in zip(plan.default.settings, settings, strict=True):
        same(found, wanted, tmp_path)
    for name, value in server.items():
        assert getattr(plan.server, name) == value


@pytest.mark.parametrize(("line", "settings", "server"), LINES)
def test_dumps_read_back(line, settings, server, tmp_path, monkeypatch):
    """A line written out as TOML gives the same plan; the .tac is Python that names the same settings."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of(line)
    again = plan_of("", to_toml(plan, found=SAMPLES), tmp_path)
    assert again.server == plan.server
    assert list(map(repr, again.default.settings)) == list(map(repr, plan.default.settings))
    compile(to_tac(plan), "site.tac", "exec")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--prot 80", "unknown option --prot; did you mean '--port'?"),
        ("--file a", "unknown option --file; did you mean '--files'?"),
        ("--at /x --files a", "--at belongs to a mount: give it after one (--files DIR --at /x)"),
        ("--tag x --at /x", "--at belongs to a mount, and tag is none"),
        ("--echo --paths /x", "--paths belongs to a wrapper, and echo is none"),
        ("--files", "--files needs a value: --files DIR"),
        ("--echo=5", "--echo takes no value"),
        ("site", "unexpected argument 'site'; a folder is served by --files site"),
        ("--without tagg", "--without: there is no feature 'tagg'; did you mean 'tag'?"),
        ("-z", "unknown option -z"),
    ],
)
def test_usage(line, said):
    """An option that cannot be taken is one line that helps; abbreviations are refused."""
    with pytest.raises(UsageProblem) as caught:
        Parser(SAMPLES).parse(line.split())
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--echo-size many", "--echo-size: echo.size: expected an integer, got 'many'"),
        ("--echo-size -1", "--echo-size: echo: size must not be negative"),
        ("--files-processors x", "--files-processors: files.processors: expected NAME=VALUE, got 'x'"),
        ("--https 443", "--https: https needs a certificate: add --certificate FILE"),
        (
            "--echo --echo",
            '--echo: echo and echo (--echo) both claim /echo on host default; mount one of them elsewhere (at = "/PATH")',
        ),
        (
            "--host a_b~ --files x --host A_B~. --files y",
            "--host A_B~.: host 'A_B~.' is claimed at --host a_b~ already",
        ),
    ],
)
def test_values(line, said):
    """A value that does not fit names its option."""
    with pytest.raises(ConfigError) as caught:
        plan_of(line)
    assert str(caught.value) == said


def test_hosts_of_the_line():
    """--host begins a host, 'default' goes back, '*' is every host; --without takes away."""
    plan = plan_of("--files a --host b.example --files b --tag x --host * --tag y --host default --echo --without tag")
    assert [type(item).__name__ for item in plan.default.settings] == ["Files", "Echo"]
    assert plan.default.without == {"tag"}
    assert [type(item).__name__ for item in plan.defaults] == ["Tag"]
    assert plan.hosts[0].names == ("b.example",)


def test_file_and_line(tmp_path):
    """An instance on the line takes fields of the file's at the same place; any other is added; the line wins."""
    toml = """
    port = "1"
    [[files]]
    path = "a"
    index = ["i"]
    [[files]]
    path = "b"
    at = "/b"
    [echo]
    size = 9
    """
    plan = plan_of(
        "--files c --at /b --files d --at /d --echo-rate 2 --port 2",
        toml,
        tmp_path,
        {"MIXWEB_PORT": "3", "MIXWEB_DRAIN": "4"},
    )
    assert [
        (item.at, str(item.path).rpartition("/")[2]) for item in plan.default.settings if isinstance(item, Files)
    ] == [
        ("/", "a"),
        ("/b", "c"),
        ("/d", "d"),
    ]
    assert [(item.size, item.rate) for item in plan.default.settings if isinstance(item, Echo)] == [(9, 2.0)]
    assert (plan.server.port, plan.server.drain) == ("2", 4)


def test_environment():
    """Server options have variables; an unknown one is said."""
    assert plan_of(environment={"MIXWEB_LISTEN": "tcp:1 tcp:2", "MIXWEB_PUBLIC": "yes"}).server.listen == (
        "tcp:1",
        "tcp:2",
    )
    with pytest.raises(ConfigError, match=r"MIXWEB_PROT: unknown variable; did you mean 'MIXWEB_PORT'\?"):
        plan_of(environment={"MIXWEB_PROT": "1"})


def test_document(tmp_path, monkeypatch):
    """Hosts inherit [defaults] and nothing else; aliases, ${VAR}, $$ and secrets in files are read."""
    monkeypatch.setenv("WHERE", "shop")
    (tmp_path / "secret").write_text("s3$cret\n")
    plan = plan_of(
        "",
        """
        [defaults.tag]
        letter = "d$$"
        [echo]
        token = { file = "secret" }
        [host."shop.example"]
        aliases = ["www.shop.example", "*.shop.example"]
        files.path = "${WHERE}"
        [host."b.example".tag]
        off = true
        """,
        tmp_path,
    )
    assert plan.defaults[0].letter == "d$"
    assert plan.default.settings[0].token == "s3$cret"
    assert plan.hosts[0].names == ("shop.example", "www.shop.example", "*.shop.example")
    assert plan.hosts[0].settings[0].path == str(tmp_path / "shop")
    assert plan.hosts[1].without == {"tag"}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("files = 3", ["site.toml:1: files: expected a table [files], got 3"]),
        ("[files]\npath = 3", ["site.toml:2: files.path: expected a path as text, got an integer"]),
        ('[files]\nindex = "index.html"', ["site.toml:2: files.index: expected a list of text, got text"]),
        ('[files]\nindex = ["a", 1]', ["site.toml:2: files.index: expected text, got an integer"]),
        ('[files]\nlisting = "yes"', ["site.toml:2: files.listing: expected true or false, got text"]),
        ("[echo]\nsize = true", ["site.toml:2: echo.size: expected an integer, got true or false"]),
        ("[echo]\nsize = 1.5", ["site.toml:2: echo.size: expected an integer, got a number"]),
        ("[echo]\nrate = 2", []),
        (
            '[echo]\ntoken = { file = "none" }',
            ["site.toml:2: echo.token: cannot read the secret in 'none': No such file or directory"],
        ),
        ('[files]\npath = "${NOT_SET}"', ["site.toml:2: files.path: the environment variable NOT_SET is not set"]),
        ("[fils]", ["site.toml:1: unknown key 'fils'; did you mean 'files'?"]),
        ("prot = 8080", ["site.toml:1: unknown key 'prot'; did you mean 'port'?"]),
        ("[files]\nindx = []", ["site.toml:2: unknown key 'indx' in files; did you mean 'index'?"]),
        ("\n[echo]\nrate = 1\nsize = -1", ["site.toml:4: echo: size must not be negative"]),
        ("[defaults.files]", ["site.toml:1: files: [defaults] holds wrappers; mount it in each host"]),
        ('[host."a".log]', ["site.toml:1: log: belongs to the server, not to a host; move it to the top level"]),
        ('[host."a b"]\n', ["site.toml:1: 'a b' is not a host name"]),
        ('[host.a]\naliases = ["b"]\n[host.b]', ["site.toml:3: host 'b' is claimed at site.toml:2 already"]),
        ('[host.a]\naliases = "b"', ["site.toml:2: aliases: expected a list of text"]),
        ("[files]\n[[files]]", ["site.toml:2: 8: "]),
        ("port = \n", ["site.toml:1: 8: invalid value\n  port = \n         ^"]),
        ("port = 8080", []),
        ('listen = "tcp:1"', ["site.toml:1: listen: expected a list of text, got text"]),
        ("drain = -1", ["site.toml:1: drain must not be negative"]),
        (
            "drain = -1\nworkers = 2\nmax_body_bytes = -1\nhttps = 443",
            [
                "site.toml:1: drain must not be negative",
                "site.toml:3: max_body_bytes must not be negative",
                "site.toml:4: https needs a certificate: add --certificate FILE",
            ],
        ),
        (
            '[goto]\n[echo]\nat = "/goto/x"\n[tag]\npaths = ["/goto/a/", "/goto*", "/goto/"]',
            [
                "site.toml:2: echo: /goto/x is never met, as all below /goto is left to goto undecoded",
                "site.toml:4: tag: /goto/a/ is never met, as all below /goto is left to goto undecoded",
            ],
        ),
        ("https = 70000\ncertificate = 'none.pem'", ["site.toml:1: https must be a port from 1 to 65535"]),
        (
            '[echo]\n\n[goto]\nat = "/echo/"',
            [
                "site.toml:3: goto and echo (site.toml:1) both claim /echo on host default;"
                ' mount one of them elsewhere (at = "/PATH")'
            ],
        ),
        (
            'x = 1\n[files]\npath = 3\nindx = 1\n[echo]\nsize = -1\n[host."a".fils]\n',
            [
                "site.toml:1: unknown key 'x'",
                "site.toml:3: files.path: expected a path as text, got an integer",
                "site.toml:4: unknown key 'indx' in files; did you mean 'index'?",
                "site.toml:6: echo: size must not be negative",
                "site.toml:7: unknown key 'fils'; did you mean 'files'?",
            ],
        ),
    ],
)
def test_problems(tmp_path, toml, said):
    """Every problem is said at once, with file, line and a suggestion; nothing is coerced."""
    if not said:
        plan_of("", toml, tmp_path)
        return
    found = problems_of(tmp_path, toml)
    assert [problem[: len(wanted)] for problem, wanted in zip(found, said, strict=True)] == said


def test_made_in_python():
    """A plan made in Python is checked like a file."""
    from mixweb import AccessLog, Echo, Goto

    wrong = Plan(default=Host(Echo(), Goto(at="/echo")), defaults=[Echo()], hosts=[Host("a", AccessLog()), Host("A")])
    with pytest.raises(ConfigError) as caught:
        given(wrong)
    assert [str(problem) for problem in caught.value.problems] == [
        "A: host 'A' is claimed at a already",
        "accesslog: accesslog: belongs to the server, not to a host; move it to the top level",
        "echo: echo: [defaults] holds wrappers; mount it in each host",
        'goto: goto and echo (echo) both claim /echo on host default; mount one of them elsewhere (at = "/PATH")',
    ]
    assert given(Plan(default=Host(Echo()))).plan.default.settings == (Echo(),)


def test_unreadable(tmp_path):
    """A file that is not there is said."""
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory"):
        load(tmp_path / "none.toml", None, {}, SAMPLES)


def test_vhosts(tmp_path):
    """NAME/ is a host, NAME.toml governs, default answers to every other name, what is hidden is left out."""
    for name in ("a.example", "b.example", "default", ".git", "_notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("")
    (tmp_path / "b.example.toml").write_text('aliases = ["c.example"]\nfiles.path = "elsewhere"\n')
    plan = plan_of(f"--vhosts {tmp_path} --host a.example --echo")
    assert plan.default.settings == (Files(str(tmp_path / "default")),)
    hosts = {host.names: host.settings for host in plan.hosts}
    assert hosts[("a.example",)] == (Files(str(tmp_path / "a.example")), Echo())
    assert hosts[("b.example", "c.example")] == (Files(str(tmp_path / "elsewhere")),)


def test_vhosts_problems(tmp_path):
    """A file of a host is checked like any other."""
    (tmp_path / "a.example.toml").write_text("[fils]\n")
    with pytest.raises(ConfigError, match=r"a\.example\.toml:1: unknown key 'fils'"):
        plan_of(f"--vhosts {tmp_path}")
    with pytest.raises(ConfigError, match="vhosts: cannot read '/nowhere': No such file"):
        plan_of("", 'vhosts = "/nowhere"', tmp_path)


def test_lines_of_difficult_documents(tmp_path):
    """Strings, arrays and comments over several lines do not hide where a key stands."""
    found = problems_of(
        tmp_path,
        '''\
        # [files]
        listen = [
            "tcp:1", # ]
            "tcp:2",
        ]
        port = """
        [echo]
        size = "no"
        """

        [[files]]
        index = ["a",
                 "b"]
        path = 'x'
        [[files]]
        at = "/b"
        "indx" = 3
        [host."a.b".echo]
        size = "x"
        ''',
    )
    assert found == [
        "site.toml:17: unknown key 'indx' in files; did you mean 'index'?",
        "site.toml:19: echo.size: expected an integer, got text",
    ]


def test_goto_is_known():
    """Features without fields of their own are flags."""
    assert plan_of("--goto").default.settings == (Goto(),)


def test_long_documents_are_quick():
    """The cost of finding lines grows with a document, not with its square."""
    began = process_time()
    key_lines("".join(f'[t{number}]\nkey = """\n{number}\n"""\n' for number in range(5_000)))
    assert process_time() - began < 2


def test_order_is_kept(tmp_path, monkeypatch):
    """Written out and read again, what is asked in turn is asked in the same turn."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of("--files a --goto --files b --at /b --echo --files c --at /c")
    again = plan_of("", to_toml(plan, found=SAMPLES), tmp_path)
    assert list(map(repr, again.default.settings)) == list(map(repr, plan.default.settings))


def test_difficult_text(tmp_path, monkeypatch):
    """Any text survives being written out as TOML."""
    monkeypatch.chdir(tmp_path)
    text = 'a"b\\c\nd\te\x7f$é\U0001f600'
    plan = load(None, Parser(SAMPLES).parse(["--tag", text]).draft, {}, SAMPLES).plan
    assert plan_of("", to_toml(plan, found=SAMPLES), tmp_path).default.settings[0].letter == text


def test_off_for_every_host(tmp_path):
    """What belongs to the server and is off for every host is off, and can be written out."""
    toml = '[defaults.log]\noff = true\n[host."a.example".echo]\n'
    plan = plan_of("", toml, tmp_path)
    assert plan_of("", to_toml(plan, found=SAMPLES), tmp_path).default.without == {"log"}


@pytest.mark.parametrize(
    ("line", "here"),
    [
        ("", True),
        ("--tag x", True),
        ("--files a", False),
        ("--host b --files a", False),
        ("--without files", False),
    ],
)
def test_serving_here(line, here, tmp_path, monkeypatch):
    """Only a line that asks for nothing serves the current directory."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    loaded = load(None, Parser().parse(shlex.split(line.replace("--tag x", "--headers 'A: b'"))).draft, {})
    assert (serving_here(loaded) is not loaded) is here
