"""Runs on the board, one thread: python on_board.py FILE INPUTS.npy OUTPUTS.npy RUNS.

The first RUNS inputs go through the file; they are in its own layout and type, and so are the outputs.
"""

import sys

import numpy as np


def tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x):
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


path, inputs, outputs, runs = sys.argv[1:]
run = {"tflite": tflite, "onnx": onnx}[path.rsplit(".", 1)[1]](path)
np.save(outputs, np.array([run(x) for x in np.load(inputs)[: int(runs)]]))
