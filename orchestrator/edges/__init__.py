"""The only place that touches the world: files, processes, git, HTTP, the runner, the terminal."""
