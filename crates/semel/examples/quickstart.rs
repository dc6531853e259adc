use semel::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message(type = "account.deposit", entity = account)]
struct Deposit {
    account: String,
    pence: u64,
}

fn deposit(balance: &mut u64, message: Deposit, _: &mut Context) {
    *balance += message.pence;
    println!("{} now holds {balance} pence", message.account);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bank = semel::open("sqlite:bank.db").await?;
    for _click in 1..=3 {
        bank.send_as("deposit-1", "accounts", Deposit { account: "ann".into(), pence: 5 }).await?;
    }
    let accounts = Endpoint::new("accounts").handle(deposit);
    Ok(Host::new(bank).endpoint(accounts).run_until_idle().await?)
}
