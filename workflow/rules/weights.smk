# Weight files of the table, got only where a job needs one that is not there. On a cluster that is the
# machine Snakemake runs on, because nodes often have no network.


rule fetch_weights:
    output:
        update("{weight}"),
    log:
        f"{LOGS}/fetch_weights/{{weight}}.log",
    benchmark:
        f"{BENCHMARKS}/fetch_weights/{{weight}}.tsv"
    localrule: True
    conda:
        "../../envs/ovnerf.yaml"
    threads: 1
    resources:
        mem_mb=memory("fetch_weights"),
        runtime=minutes("fetch_weights"),
    params:
        # Functions, because Snakemake takes braces in plain text for wildcards.
        table=lambda wildcards: shipped(CONFIG.weights_table),
        weights_dir=weights_dir_option,
        code=code_digest("fetch_weights"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf fetch_weights "
        "--table={params.table:q} --out {output} {params.weights_dir} "
        "{params.compute} 2>&1 | tee {log}"
