// Raw scans to results with Nextflow (DSL 2): one process a scan, on a laptop or a cluster.
//
//   nextflow run examples/workflows/veridical.nf --scans 'scans/*.npy' --output results
//
// Exit codes of veridical: 2 refused and 3 blocked by your policy end this scan alone; anything else
// is tried again, twice.
nextflow.enable.dsl = 2

params.scans = 'scans/*.npy'
params.output = 'results'
params.model = 'denoiser'

process RECONSTRUCT {
    tag "${scan.simpleName}"
    publishDir params.output, mode: 'copy'
    cpus 2
    memory '4 GB'
    errorStrategy { task.exitStatus in [2, 3] ? 'ignore' : 'retry' }
    maxRetries 2

    input:
    path scan

    output:
    tuple path("${scan.simpleName}"), path("${scan.simpleName}.json")

    script:
    """
    OMP_NUM_THREADS=${task.cpus} veridical reconstruct ${scan} ${scan.simpleName} \\
        --axes coil,y,x --contrast T1w --model ${params.model} --json > ${scan.simpleName}.json
    """
}

process FINDINGS {
    publishDir params.output, mode: 'copy'

    input:
    path records

    output:
    path 'findings.tsv'

    script:
    """
    python3 - ${records} > findings.tsv <<'PYTHON'
    import json, sys
    print("scan", "check", "verdict", "reason", sep="\\t")
    for name in sys.argv[1:]:
        for one in json.load(open(name))["findings"]:
            print(name.removesuffix(".json"), one["check"], one["verdict"], one["reason"], sep="\\t")
    PYTHON
    """.stripIndent()
}

workflow {
    made = RECONSTRUCT(Channel.fromPath(params.scans, checkIfExists: true))
    FINDINGS(made.map { folder, record -> record }.collect())
}
