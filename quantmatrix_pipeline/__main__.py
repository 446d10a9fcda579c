"""`python -m quantmatrix_pipeline` is `qm`, where the script is not on the PATH."""

from quantmatrix_pipeline.cli.main import run

if __name__ == "__main__":
    run()
