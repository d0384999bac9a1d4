// What @trustnxt/c2pa-ts says of files: one JSON line for each. node validate.mjs PACKAGE FILE...
// A file FILE.c2pa beside FILE is taken for its manifest store instead of the one inside.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const part = (name) => import(pathToFileURL(path.join(folder, "dist", name, "index.js")).href);
const { PNG } = await part("asset");
const { SuperBox } = await part("jumbf");
const { ManifestStore, ValidationResult } = await part("manifest");

for (const file of files) {
  const embedded = [];
  let result, label = null, record = null;
  try {
    const asset = new PNG(new Uint8Array(fs.readFileSync(file)));
    const sidecar = `${file}.c2pa`;
    const store = fs.existsSync(sidecar) ? new Uint8Array(fs.readFileSync(sidecar)) : await asset.getManifestJUMBF();
    const manifests = ManifestStore.read(SuperBox.fromBuffer(store));
    const active = manifests.getActiveManifest();
    label = active.label;
    const found = active.assertions.assertions.find((one) => one.label === "org.restore.run");
    record = found?.sourceBox?.contentBoxes?.[0]?.content?.manifest ?? null;
    for (const one of active.assertions.assertions) {
      const data = one.sourceBox?.contentBoxes?.[1]?.content;
      if (data instanceof Uint8Array) embedded.push(crypto.createHash("sha256").update(data).digest("hex"));
    }
    result = await manifests.validate(asset);
  } catch (error) {
    result = ValidationResult.fromError(error);
  }
  const failures = result.statusEntries.filter((one) => !one.success).map((one) => one.code);
  const passes = result.statusEntries.filter((one) => one.success).map((one) => one.code);
  console.log(JSON.stringify({ file, valid: result.isValid, failures, passes, label, record, embedded }));
}
