// An Azure Blob server in memory with the container `loom`, for tests.
//
//     node azure.js ACCOUNT KEY
//
// Account and key are those that every Azurite has. Prints its port, then answers until it is killed.
"use strict";

const { BlobServiceClient, StorageSharedKeyCredential } = require("@azure/storage-blob");

const [account, key] = process.argv.slice(2);

async function listens(endpoint) {
  const credential = new StorageSharedKeyCredential(account, key);
  await new BlobServiceClient(`${endpoint}/${account}`, credential).createContainer("loom");
  process.stdout.write(`${new URL(endpoint).port}\n`);
}

// It says its port, which the system chooses, nowhere else.
console.log = (text) => {
  const said = /successfully listens on (http:\S+)/.exec(text);
  if (said) listens(said[1]);
};
process.argv.splice(2, 2, "--inMemoryPersistence", "--blobPort", "0", "--silent", "--disableTelemetry", "--skipApiVersionCheck");
require("azurite/dist/src/blob/main");
