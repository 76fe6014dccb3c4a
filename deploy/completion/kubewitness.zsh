#compdef kubewitness

_kubewitness_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _KUBEWITNESS_COMPLETE=complete_zsh kubewitness)
}

compdef _kubewitness_completion kubewitness
_kubewitness_completion "$@"
