metadata description = 'Private DNS: the names of the services lead to their endpoints, inside the network only.'

@description('Whether the zones are made here; without it this file deploys nothing.')
param enabled bool

@description('Cloud: public, usgov or china.')
param cloud string

@description('Tags of every resource.')
param tags object

@description('Id of the network that asks these zones.')
param networkId string

@description('Id of the resource group that the zones are in already; empty: they are made here.')
param zonesGroupId string

// Service Bus and Event Hubs share a zone: both are called <name>.servicebus.windows.net.
var zonesByCloud = {
  public: {
    messaging: 'privatelink.servicebus.windows.net'
    vault: 'privatelink.vaultcore.azure.net'
    sites: 'privatelink.azurewebsites.net'
    events: 'privatelink.eventgrid.azure.net'
    monitor: 'privatelink.monitor.azure.com'
    oms: 'privatelink.oms.opinsights.azure.com'
    ods: 'privatelink.ods.opinsights.azure.com'
    agents: 'privatelink.agentsvc.azure-automation.net'
  }
  usgov: {
    messaging: 'privatelink.servicebus.usgovcloudapi.net'
    vault: 'privatelink.vaultcore.usgovcloudapi.net'
    sites: 'privatelink.azurewebsites.us'
    events: 'privatelink.eventgrid.azure.us'
    monitor: 'privatelink.monitor.azure.us'
    oms: 'privatelink.oms.opinsights.azure.us'
    ods: 'privatelink.ods.opinsights.azure.us'
    agents: 'privatelink.agentsvc.azure-automation.us'
  }
  china: {
    messaging: 'privatelink.servicebus.chinacloudapi.cn'
    vault: 'privatelink.vaultcore.azure.cn'
    sites: 'privatelink.chinacloudsites.cn'
    events: 'privatelink.eventgrid.azure.cn'
    monitor: 'privatelink.monitor.azure.cn'
    oms: 'privatelink.oms.opinsights.azure.cn'
    ods: 'privatelink.ods.opinsights.azure.cn'
    agents: 'privatelink.agentsvc.azure-automation.cn'
  }
}

var storageSuffix = environment().suffixes.storage
var zones = union(zonesByCloud[cloud], {
  blob: 'privatelink.blob.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  dfs: 'privatelink.dfs.${storageSuffix}'
})

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for one in items(zones): if (enabled) {
  name: one.value
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for one in items(zones): if (enabled) {
  name: '${one.value}/to-network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
  dependsOn: [
    zone
  ]
}]

var zoneGroup = '${empty(zonesGroupId) ? resourceGroup().id : zonesGroupId}/providers/Microsoft.Network/privateDnsZones'

@description('Name of a zone here → its id.')
output ids object = {
  blob: '${zoneGroup}/${zones.blob}'
  table: '${zoneGroup}/${zones.table}'
  dfs: '${zoneGroup}/${zones.dfs}'
  messaging: '${zoneGroup}/${zones.messaging}'
  vault: '${zoneGroup}/${zones.vault}'
  sites: '${zoneGroup}/${zones.sites}'
  events: '${zoneGroup}/${zones.events}'
  monitor: '${zoneGroup}/${zones.monitor}'
  oms: '${zoneGroup}/${zones.oms}'
  ods: '${zoneGroup}/${zones.ods}'
  agents: '${zoneGroup}/${zones.agents}'
}
