// What two clients of OData from npm read at an address; printed as JSON.
const { OData } = require("@odata/client");
const { o } = require("odata");

async function main(service) {
  const found = {};
  const client = OData.New4({ serviceEndpoint: service });
  const orders = client.getEntitySet("orders");
  const french = client.newFilter().property("country").eq("France");
  found.filtered = await orders.query(client.newOptions().filter(french).select(["orderId", "total"]));
  found.count = await orders.count(french);
  found.one = await orders.retrieve("3");
  found.page = await orders.query(client.newOptions().top(2).skip(1).orderby("orderId", "asc"));

  // this one percent-encodes the dollar
  found.encoded = await o(service).get("orders").query({ $filter: "country eq 'Norway'", $select: "orderId" });
  return found;
}

main(process.argv[2]).then(
  (found) => console.log(JSON.stringify(found)),
  (error) => { console.error(error); process.exit(1); },
);
