// Not built here: an example for an Android app, written by LiteRT's documentation and run on no phone.
//
// edgecvx export birds.pth --target android-cpu --int8 --input uint8 --labels birds.txt --out build
//
// build.gradle.kts: implementation("com.google.ai.edge.litert:litert:1.4.0"), and androidResources { noCompress += "tflite" }
// The file and birds.txt lie in app/src/main/assets. With --input uint8 the file takes the picture's own bytes, so that
// nothing is left to do here but to cut and resize: mean and standard deviation are in its first convolution.

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Color
import java.io.Closeable
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import kotlin.math.exp
import org.tensorflow.lite.Interpreter

class Classifier(context: Context, model: String, labels: String, threads: Int = 4) : Closeable {
    private val names = context.assets.open(labels).bufferedReader().readLines().filter { it.isNotBlank() }
    private val interpreter = Interpreter(mapped(context, model), Interpreter.Options().setNumThreads(threads))
    private val size = interpreter.getInputTensor(0).shape()[1] // [1, H, W, 3], NHWC

    /** The likeliest classes of a picture, as pairs of name and probability. */
    fun classify(picture: Bitmap, top: Int = 5): List<Pair<String, Float>> {
        val logits = Array(1) { FloatArray(names.size) }
        interpreter.run(bytes(picture), logits)
        val largest = logits[0].max()
        val powers = logits[0].map { exp(it - largest) }
        return names.zip(powers.map { it / powers.sum() }).sortedByDescending { it.second }.take(top)
    }

    override fun close() = interpreter.close()

    /** The centre square, resized. Android filters bilinearly: for figures that match the validation, resize as the manifest says. */
    private fun bytes(picture: Bitmap): ByteBuffer {
        val side = minOf(picture.width, picture.height)
        val square = Bitmap.createBitmap(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side)
        val scaled = Bitmap.createScaledBitmap(square, size, size, true)
        val pixels = IntArray(size * size).also { scaled.getPixels(it, 0, size, 0, 0, size, size) }
        val buffer = ByteBuffer.allocateDirect(3 * size * size).order(ByteOrder.nativeOrder())
        for (pixel in pixels) {
            buffer.put(Color.red(pixel).toByte()).put(Color.green(pixel).toByte()).put(Color.blue(pixel).toByte())
        }
        return buffer.apply { rewind() }
    }

    private fun mapped(context: Context, name: String): ByteBuffer =
        context.assets.openFd(name).use { file ->
            FileInputStream(file.fileDescriptor).channel.map(
                FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength
            )
        }
}
