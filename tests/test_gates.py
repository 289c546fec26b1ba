"""The deny-list: each forbidden thing is refused, and a harmless change that looks like it passes."""

from __future__ import annotations

import pytest
from values import change, changes

from orchestrator.edges.yaml import parse
from orchestrator.gates import violations
from orchestrator.model import FileChange, Safety

CI = ".github/workflows/ci.yml"
SHA, SHA2 = "a" * 40, "b" * 40


def refused(path: str, before: str | None, after: str | None, **fix: object) -> str:
    return "; ".join(violations(change(path, before, after, **fix), parse))


def workflow(steps: str = "", top: str = "", job: str = "") -> str:
    return f"on: push\n{top}jobs:\n  test:\n    runs-on: ubuntu-latest\n{job}    steps:\n      - run: make\n{steps}"


STEP = "      - run: {}\n"

# What T14 of the threat model names: a forbidden addition and its harmless twin.
FORBIDDEN = [
    ("make test || true", "make test || exit 1"),
    ("make test ||true", "make test || make test-again"),
    ("make test || :", "make ${x:-y}"),
    ("make test || exit 0", "exit 0"),
    ("make test || /bin/true", "test || trueish"),
    ("make test || echo failed", "echo failed"),
    ("set +e; make test", "set -e; make test"),
    ("set +o pipefail", "set -o pipefail"),
    ("git commit --no-verify -m x", "git commit -m no-verify"),
    ("npm audit fix --force", "npm audit fix"),
    ("npm ci --legacy-peer-deps", "npm ci"),
    ("pip install --trusted-host index.example x", "pip install x"),
    ("curl -k https://example.invalid", "curl -f https://example.invalid"),
    ("curl -fsSLk https://example.invalid", "curl -fsSL https://example.invalid/-k"),
    ("curl --insecure https://example.invalid", "curl https://example.invalid"),
    ("git config http.sslVerify false", "git config http.sslVerify true"),
    ("npm config set strict-ssl=false", "npm config set strict-ssl=true"),
    ("NODE_TLS_REJECT_UNAUTHORIZED=0 node x.js", "node x.js"),
    ("pytest --deselect tests/test_a.py::test_x", "pytest tests/test_a.py"),
    ("pytest --ignore=tests/test_a.py", "pytest --maxfail=1"),
]


@pytest.mark.parametrize(("bad", "good"), FORBIDDEN)
def test_a_command_that_silences_is_refused(bad: str, good: str) -> None:
    assert "ci.yml" in refused(CI, workflow(), workflow(STEP.format(bad)))
    assert refused(CI, workflow(), workflow(STEP.format(good))) == ""


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("        continue-on-error: true\n", "        continue-on-error: false\n"),
        ("        continue-on-error: ${{ github.actor != 'x' }}\n", "        timeout-minutes: 5\n"),
        ("        continue-on-error: 'true'\n", "        name: continue on error\n"),
        ('        "continue-on-error": TRUE\n', "        id: x\n"),
        ("        with: {allow-unsafe-pr-checkout: true}\n", "        with: {ref: main}\n"),
        ("        env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: true}\n", "        env: {A: b}\n"),
        ("        env: {GIT_SSL_NO_VERIFY: 1}\n", "        env: {SSL_CERT_FILE: /x}\n"),
    ],
)
def test_a_key_that_weakens_is_refused(bad: str, good: str) -> None:
    assert refused(CI, workflow(), workflow(bad))
    assert refused(CI, workflow(), workflow(good)) == ""


@pytest.mark.parametrize(
    ("path", "bad", "good"),
    [
        ("tests/test_a.py", "@pytest.mark.skip\n", "@pytest.mark.slow\n"),
        ("tests/test_a.py", "@pytest.mark.xfail(reason='x')\n", "x_fails = 1\n"),
        ("tests/test_a.py", "@unittest.skipIf(True, '')\n", "# skip nothing here\n"),
        ("tests/test_a.py", "    pytest.skip('x')\n", "    do_not_skip('x')\n"),
        ("a.test.js", "it.skip('x', f)\n", "it('x', f)\n"),
        ("a.test.js", "xit('x', f)\n", "exit('x')\n"),
        ("a_test.go", "\tt.Skip()\n", "\tt.Log()\n"),
        ("src/lib.rs", "#[ignore]\n", "#[inline]\n"),
        ("ATest.java", "@Disabled\n", "@Enabled\n"),
        ("a.py", "import x  # noqa\n", "import x  # note\n"),
        ("a.py", "x = 1  # type: ignore\n", "x: int = 1\n"),
        ("a.py", "x()  # nosec\n", "x()  # second\n"),
        ("a.py", "x()  # pragma: no cover\n", "x()  # cover\n"),
        ("a.ts", "// @ts-ignore\n", "// @ts-check\n"),
        ("a.js", "/* eslint-disable */\n", "/* eslint */\n"),
        ("a.go", "x() //nolint\n", "x() // lint\n"),
        ("a.py", "requests.get(u, verify=False)\n", "requests.get(u, verify=True)\n"),
        ("a.go", "InsecureSkipVerify: true\n", "InsecureSkipVerify: false\n"),
    ],
)
def test_code_that_skips_or_silences_is_refused(path: str, bad: str, good: str) -> None:
    assert refused(path, "first\n", "first\n" + bad)
    assert refused(path, "first\n", "first\n" + good) == ""


class TestOnlyWhatIsAdded:
    def test_what_was_there_before_is_not_our_business(self) -> None:
        line = STEP.format("make test || true")
        assert refused(CI, workflow(line), workflow(line + STEP.format("make lint"))) == ""

    def test_an_edited_line_may_keep_what_it_had(self) -> None:
        assert refused(CI, workflow(STEP.format("a@1 || true")), workflow(STEP.format("a@2 || true"))) == ""

    def test_one_such_line_is_no_permit_for_a_second(self) -> None:
        before, after = STEP.format("a@1 || true"), STEP.format("a@2 || true") + STEP.format("make test || true")
        assert refused(CI, workflow(before), workflow(after))


class TestTests:
    TESTS = "def test_a():\n    assert f()\n\n\nasync def test_b():\n    assert g()\n"

    @pytest.mark.parametrize(
        "path", ["tests/a.py", "test_x.py", "pkg/test/x.py", "a_test.go", "src/__tests__/x.js", "x.spec.ts", "spec/x_spec.rb",
                 "conftest.py", "src/FooTest.java"]
    )  # fmt: skip
    def test_a_deleted_test_file_is_refused(self, path: str) -> None:
        assert "test" in refused(path, "x\n", None)

    @pytest.mark.parametrize("path", ["latest.py", "contest/a.py", "src/attestation.go", "inspect.py"])
    def test_another_deleted_file_is_not(self, path: str) -> None:
        assert refused(path, "x\n", None) == ""

    def test_a_removed_test_is_refused(self) -> None:
        assert "removes a test" in refused("src/a.py", self.TESTS, self.TESTS.split("\n\n")[0] + "\n")
        assert "removes a test" in refused("tests/test_a.py", self.TESTS, "")

    def test_a_reformatted_test_is_not(self) -> None:
        assert refused("tests/test_a.py", self.TESTS, self.TESTS.replace("f()", "f( 1 )")) == ""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("fail_under = 90", "fail_under = 80"),
            ("addopts = --cov-fail-under=90", "addopts = --cov-fail-under=9.5"),
            ("addopts = --cov-fail-under=90", "addopts = -q"),
            ('"branches": 90,', '"branches": 10,'),
            ("minimum_coverage: 90", ""),
        ],
    )
    def test_a_lowered_threshold_is_refused(self, before: str, after: str) -> None:
        assert "threshold" in refused("setup.cfg", f"{before}\nx\n", f"{after}\nx\n")
        assert refused("setup.cfg", f"{before}\nx\n", f"{before}\ny\n") == ""
        assert not refused("setup.cfg", f"{after}\nx\n", f"{before}\nx\n")


class TestPermissions:
    def test_write_all_is_refused(self) -> None:
        for level in ("write-all", "read-all"):
            assert refused(CI, workflow(), workflow(top=f"permissions: {level}\n"))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("permissions: {contents: read}\n", "permissions: {contents: write}\n"),
            ("permissions: {contents: read}\n", "permissions: {contents: read, issues: read}\n"),
            ("permissions: {contents: read}\n", ""),
            ("permissions: {}\n", "permissions: {contents: read}\n"),
            ("permissions: read-all\n", "permissions: {issues: write}\n"),
            ("", "permissions: {contents: write}\n"),
        ],
    )
    def test_a_raise_is_refused_and_its_reverse_is_not(self, before: str, after: str) -> None:
        assert "permission" in refused(CI, workflow(top=before), workflow(top=after))
        if before and "all" not in before:
            reverse = refused(CI, workflow(top=after), workflow(top=before))
            assert reverse == "", reverse

    def test_a_job_may_not_take_more_than_its_workflow_gave(self) -> None:
        top, job = "permissions: {}\n", "    permissions: {contents: read}\n"
        assert refused(CI, workflow(top=top), workflow(top=top, job=job))
        assert refused(CI, workflow(job=job, top=top), workflow(top=top, job="    permissions: {}\n")) == ""

    def test_a_jobs_own_narrow_block_may_not_disappear(self) -> None:
        top, job = "permissions: {contents: write}\n", "    permissions: {contents: read}\n"
        assert "removes the permissions of test" in refused(CI, workflow(top=top, job=job), workflow(top=top))

    def test_the_one_exception_is_exact_and_for_review(self) -> None:
        before = workflow(job="    permissions: {contents: read}\n")
        after = workflow(job="    permissions: {contents: read, issues: write}\n")
        allowed = {"permission": "test:issues: write", "safety": Safety.REVIEW}
        assert refused(CI, before, after, **allowed) == ""
        assert refused(CI, before, after, **{**allowed, "safety": Safety.SAFE})
        assert refused(CI, before, after, **{**allowed, "permission": "test:issues: read"})
        assert refused(CI, before, after, **{**allowed, "permission": "other:issues: write"})
        more = after.replace("issues: write", "issues: write, packages: write")
        assert "packages" in refused(CI, before, more, **allowed)

    def test_the_exception_is_never_for_the_whole_workflow(self) -> None:
        before, after = workflow(top="permissions: {}\n"), workflow(top="permissions: {issues: write}\n")
        assert refused(CI, before, after, permission=":issues: write", safety=Safety.REVIEW)

    def test_secrets_are_not_handed_on(self) -> None:
        assert refused(CI, workflow(), workflow(job="    secrets: inherit\n"))
        assert refused(CI, workflow(), workflow(job="    env: {inherit: secrets}\n")) == ""

    def test_a_trigger_with_foreign_code_is_refused(self) -> None:
        assert refused(CI, workflow(), workflow().replace("on: push", "on: [push, pull_request_target]"))
        assert refused(CI, workflow(), workflow().replace("on: push", "on: [push, pull_request]")) == ""


class TestPins:
    USES = "      - uses: a/b@{}\n"

    @pytest.mark.parametrize("path", [CI, ".github/actions/x/action.yml"])
    def test_a_pin_is_not_lost(self, path: str) -> None:
        pinned, loose = workflow(self.USES.format(SHA)), workflow(self.USES.format("v4"))
        assert "unpins a/b" in refused(path, pinned, loose)
        assert refused(path, loose, pinned) == ""
        assert refused(path, pinned, workflow(self.USES.format(SHA2))) == ""

    def test_pinning_one_is_no_permit_to_unpin_another(self) -> None:
        before = workflow(self.USES.format(SHA) + "      - uses: c/d@v1\n")
        after = workflow(self.USES.format("v4") + f"      - uses: c/d@{SHA}\n")
        assert "unpins a/b" in refused(CI, before, after)

    def test_a_digest_is_a_pin(self) -> None:
        image = "      - uses: docker://alpine@sha256:" + "c" * 64 + "\n"
        assert refused(CI, workflow(image), workflow("      - uses: docker://alpine\n"))


class TestPaths:
    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "../x", "a/../../x", "a/./b", ".git/hooks/pre-commit", "sub/.git/config", ".GIT/config", "a\0b", ""]
    )
    def test_a_path_outside_is_refused(self, path: str) -> None:
        assert "no path inside the repository" in refused(path, "a", "b")

    @pytest.mark.parametrize("path", [".gitignore", ".github/dependabot.yml", "a..b/c", ".gitattributes"])
    def test_a_path_inside_is_not(self, path: str) -> None:
        assert refused(path, "a\n", "b\n") == ""

    def test_the_lock_of_the_workflows_is_never_written(self) -> None:
        assert refused(".github/workflows/actions.lock", "a", "b")

    def test_a_workflow_is_not_deleted(self) -> None:
        assert "deletes the workflow" in refused(CI, workflow(), None)

    def test_a_workflow_that_does_not_parse_is_refused(self) -> None:
        assert "parse" in refused(CI, workflow(), "a: [\n")

    def test_every_file_is_looked_at(self) -> None:
        found = violations(
            changes(FileChange(path="ok.txt", before=b"a", after=b"b"), FileChange(path="t.py", before=b"", after=b"# noqa\n")), parse
        )
        assert len(found) == 1 and found[0].startswith("t.py")

    def test_binary_files_do_no_harm(self) -> None:
        assert violations(changes(FileChange(path="x.bin", before=b"\xff\0", after=b"\xfe\0")), parse) == []
