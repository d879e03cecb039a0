// Serves the built page of the release that it was started in; breaks where a test says so.
const fs = require("fs");
const flag = (name) => { try { return fs.readFileSync(`${process.env.HOME}/fail/${name}`, "utf8"); } catch { return null; } };
const port = Number(process.env.PORT);
const where = port >= 20000 && port < 30000 ? "spare" : "final";
const page = fs.readFileSync("built.txt", "utf8").trim();
if (flag(`${where}-start`) === page) { console.log(`cannot start, key is ${process.env.PAYLOAD_SECRET}`); process.exit(1); }
const seen = ["DATABASE_URL", "SW_CLIENT", "STRAY"].map((name) => process.env[name] || "-").join(",");
require("http").createServer((request, answer) => {
  if (flag(`${where}-look`) === page) answer.statusCode = 500;
  else if (request.headers.host !== process.env.EXPECTED_HOST) answer.statusCode = 421;
  answer.end(`${page} ${process.env.CLIENT_ID} ${process.pid} ${seen}`);
}).listen(port, "127.0.0.1");
