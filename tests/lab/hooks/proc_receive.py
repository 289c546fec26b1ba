"""git's proc-receive hook: refuses a push with GitHub's own words.

Only this hook can give the text after "[remote rejected]"; a pre-receive hook cannot. The
policy of the pushing token comes from the git server in the environment; without one, the
pusher is a person who may do everything.
"""

import json
import os
import subprocess
import sys

ZERO = "0" * 40
WORKFLOWS = ".github/workflows"


def read_packets():
    """The packets up to the next flush."""
    packets = []
    while True:
        size = int(sys.stdin.buffer.read(4), 16)
        if size == 0:
            return packets
        packets.append(sys.stdin.buffer.read(size - 4).decode())


def write_packets(packets):
    for packet in packets:
        data = packet.encode()
        sys.stdout.buffer.write(b"%04x" % (len(data) + 4) + data)
    sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()


def git(*arguments):
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def workflows_tree(commit):
    return git("rev-parse", "--verify", "--quiet", f"{commit}:{WORKFLOWS}")


def changed_workflow(old, new):
    """The first workflow file of the pushed tip that differs from what is here already."""
    tree = workflows_tree(new)
    if old != ZERO:
        known = [old]
    else:
        known = git("for-each-ref", "--format=%(objectname)", "refs/heads").split()
    if any(workflows_tree(commit) == tree for commit in known):
        return None
    base = known[0] if known else None
    if base:
        merge_base = git("merge-base", base, new) or base
        names = git("diff", "--name-only", merge_base, new, "--", WORKFLOWS).splitlines()
        names = names or git("diff", "--name-only", base, new, "--", WORKFLOWS).splitlines()
    else:
        names = git("ls-tree", "-r", "--name-only", new, "--", WORKFLOWS).splitlines()
    return names[0] if names else None


def verdict(policy, old, new, ref):
    """None, or the reason GitHub puts in brackets; the rest goes to stderr as GitHub prints it."""
    branch = ref.removeprefix("refs/heads/")
    if new != ZERO and not policy["workflows"]:
        path = changed_workflow(old, new)
        if path:
            who, what = policy["subject"], policy["scope"]
            return f"refusing to allow {who} to create or update workflow `{path}` without {what}"
    if branch in policy["protected"]:
        print(f"error: GH006: Protected branch update failed for {ref}.", file=sys.stderr)
        print("error: Changes must be made through a pull request.", file=sys.stderr)
        return "protected branch hook declined"
    rules = policy["rulesets"].get(branch, [])
    bullets = []
    for rule in rules:
        if rule["type"] == "pull_request":
            bullets.append("Changes must be made through a pull request.")
        elif rule["type"] == "required_status_checks":
            for check in rule["parameters"]["required_status_checks"]:
                bullets.append(f'Required status check "{check["context"]}" is expected.')
        elif rule["type"] == "non_fast_forward" and old != ZERO and git("merge-base", old, new) != old:
            bullets.append("Cannot force-push to this branch")
    if bullets:
        lines = [f"error: GH013: Repository rule violations found for {ref}.", ""]
        for bullet in bullets:
            lines += [f"- {bullet}", ""]
        print("\n".join(lines), file=sys.stderr)
        return "push declined due to repository rule violations"
    return None


def main():
    read_packets()  # the version; no capability is wanted
    write_packets(["version=1\n"])
    commands = [packet.rstrip("\n").split(" ", 2) for packet in read_packets()]
    text = os.environ.get("LAB_PUSH_POLICY")
    answer = []
    for old, new, ref in commands:
        reason = verdict(json.loads(text), old, new, ref) if text else None
        answer += [f"ng {ref} {reason}\n"] if reason else [f"ok {ref}\n", "option fall-through\n"]
    write_packets(answer)


if __name__ == "__main__":
    main()
