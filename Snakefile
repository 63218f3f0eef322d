# So that `snakemake` in the repository root needs no -s. The workflow is workflow/Snakefile.
include: "workflow/Snakefile"


# An included file's default target is forgotten when the include ends.
workflow.default_target = "all"
