// Not built here: an example for an app on iPhone, iPad or Mac, written by Apple's documentation and run on no device.
//
// edgecvx export birds.pth --target iphone --int8 --input uint8 --labels birds.txt --out build
//
// The .mlpackage lies in the Xcode project, which compiles it to .mlmodelc. With labels the file is a classifier, as
// Vision expects it; with --input uint8 it takes a picture, so that mean and standard deviation are nothing to care for.

import CoreML
import Vision

struct Classifier {
    private let model: VNCoreMLModel

    /// `name` is the file's without its suffix.
    init(name: String, units: MLComputeUnits = .all) throws {
        guard let url = Bundle.main.url(forResource: name, withExtension: "mlmodelc") else {
            throw CocoaError(.fileNoSuchFile)
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        model = try VNCoreMLModel(for: MLModel(contentsOf: url, configuration: configuration))
    }

    /// The likeliest classes of a picture. Vision cuts the centre square and scales it: edgecvx and timm first resize to
    /// `size / crop_pct`, so they see a little less of the picture.
    func classify(_ picture: CGImage, top: Int = 5) throws -> [(name: String, probability: Float)] {
        let request = VNCoreMLRequest(model: model)
        request.imageCropAndScaleOption = .centerCrop
        try VNImageRequestHandler(cgImage: picture).perform([request])
        let found = request.results as? [VNClassificationObservation] ?? []
        return found.prefix(top).map { ($0.identifier, $0.confidence) }
    }
}
