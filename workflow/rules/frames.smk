# Scenes: toy rooms are made, videos and photos are given poses, posed frames and ground truth are read.


rule make_room:
    output:
        f"{SCENE}/room/room.json",
    log:
        f"{LOGS}/make_room/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/make_room/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("make_room"),
        runtime=minutes("make_room"),
    params:
        settings=setting("make_room"),
        code=code_digest("make_room"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf make_room "
        "--out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule capture:
    input:
        source=scene_input("sources"),
    output:
        directory(f"{SCENE}/captured"),
    log:
        f"{LOGS}/capture/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/capture/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("capture"),
        runtime=minutes("capture"),
    params:
        source=capture_source,
        settings=setting("capture"),
        code=code_digest("capture"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf capture {params.source:q} {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule sample_frames:
    input:
        images=scene_input("images"),
    output:
        directory(f"{SCENE}/frames.zarr"),
    log:
        f"{LOGS}/sample_frames/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/sample_frames/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("sample_frames"),
        runtime=minutes("sample_frames"),
    params:
        settings=setting("sample_frames"),
        folder=scene_folder,
        code=code_digest("sample_frames"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf sample_frames "
        "--folder={params.folder:q} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule read_truth:
    input:
        labels=scene_input("labels"),
        frames=f"{SCENE}/frames.zarr",
    output:
        directory(f"{SCENE}/truth.zarr"),
    log:
        f"{LOGS}/read_truth/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/read_truth/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("read_truth"),
        runtime=minutes("read_truth"),
    params:
        settings=setting("read_truth"),
        folder=scene_folder,
        code=code_digest("read_truth"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf read_truth "
        "--folder={params.folder:q} --frames {input.frames} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
