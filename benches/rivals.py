"""Log shippers that benches/run sends the whole way with, if it is told where they are: one process, standard input or the file of the
corpus, gzip, objects in S3. Their settings are theirs by default but for what that takes."""

import collections

Rival = collections.namedtuple("Rival", "option title file arguments reads_stdin settings")

FLUENT_BIT = """\
[SERVICE]
    flush                1
    log_level            error
[INPUT]
    name                 tail
    path                 {corpus}
    read_from_head       on
    exit_on_eof          on
    buffer_max_size      1M
[OUTPUT]
    name                 s3
    match                *
    bucket               {bucket}
    region               us-east-1
    endpoint             {url}
    store_dir            {work}/store
    compression          gzip
    use_put_object       on
    total_file_size      50M
    log_key              log
    s3_key_format        /fluent-bit/$UUID.gz
"""

VECTOR = """\
data_dir: {work}
sources:
  in:
    type: stdin
sinks:
  out:
    type: aws_s3
    inputs: [in]
    bucket: {bucket}
    region: us-east-1
    endpoint: {url}
    key_prefix: vector/
    compression: gzip
    encoding:
      codec: text
    framing:
      method: newline_delimited
"""

ALL = [
    Rival("fluent_bit", "fluent-bit, the file to s3://…", "fluent-bit.conf", ["-c"], False, FLUENT_BIT),
    Rival("vector", "vector, stdin to s3://…", "vector.yaml", ["--quiet", "--config"], True, VECTOR),
]
